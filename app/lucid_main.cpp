#include "app/cli/lucid.hpp"

int main(int argc, char** argv) { return lucid::cli::run_lucid(argc, argv); }
