// Settings of chunk-processor, declared in module.cpp and read once at start.
#pragma once

#include <string>

namespace lucid::processor {

struct Config {
  std::string node = "local";  // part of every checkpoint's origin: lucid/<node>/session/<id>
};

}  // namespace lucid::processor
