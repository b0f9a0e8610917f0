#include "app/wiring/services.hpp"
#include "sessions/api/module.hpp"

int main(int argc, char** argv) { return lucid::app::run_service(argc, argv, lucid::api::module()); }
