#include "app/wiring/services.hpp"
#include "rdp/gateway/module.hpp"

int main(int argc, char** argv) { return lucid::app::run_service(argc, argv, lucid::gateway::module()); }
