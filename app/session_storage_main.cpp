#include "app/wiring/services.hpp"
#include "sessions/storage/module.hpp"

int main(int argc, char** argv) { return lucid::app::run_service(argc, argv, lucid::storage::module()); }
