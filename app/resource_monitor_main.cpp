#include "app/wiring/services.hpp"
#include "rdp/monitor/module.hpp"

int main(int argc, char** argv) { return lucid::app::run_service(argc, argv, lucid::monitor::module()); }
