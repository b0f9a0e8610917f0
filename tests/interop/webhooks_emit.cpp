// Sends three events to the URL it is given, as a service does, and says the hook's secret first. Ends when its standard input does.
#include <cstdio>
#include <iostream>

#include "lib/store/memory_documents.hpp"
#include "lib/webhooks/webhooks.hpp"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  lucid::SystemClock clock;
  lucid::SystemRandom random;
  lucid::store::MemoryDocuments documents;
  lucid::runtime::Metrics metrics;
  lucid::webhooks::Webhooks hooks({documents, clock, random, metrics, lucid::runtime::Log("webhooks_emit")});
  std::printf("%s\n", hooks.add(argv[1], {}).secret.c_str());
  std::fflush(stdout);
  for (int n = 1; n <= 3; ++n) hooks.enqueue("alert.firing", {{"n", n}, {"text", "Ünïcode \"quoted\" \\ 🙂"}});
  for (std::string line; std::getline(std::cin, line);) {}
}
