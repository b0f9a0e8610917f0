#include "app/wiring/services.hpp"
#include "node/management/module.hpp"

int main(int argc, char** argv) { return lucid::app::run_service(argc, argv, lucid::node_management::module()); }
