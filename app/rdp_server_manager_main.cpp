#include "app/wiring/services.hpp"
#include "rdp/server-manager/module.hpp"

int main(int argc, char** argv) { return lucid::app::run_service(argc, argv, lucid::server_manager::module()); }
