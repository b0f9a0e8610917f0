#include "app/wiring/services.hpp"
#include "sessions/recorder/module.hpp"

int main(int argc, char** argv) { return lucid::app::run_service(argc, argv, lucid::recorder::module()); }
