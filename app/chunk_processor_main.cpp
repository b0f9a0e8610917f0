#include "app/wiring/services.hpp"
#include "sessions/processor/module.hpp"

int main(int argc, char** argv) { return lucid::app::run_service(argc, argv, lucid::processor::module()); }
