// A picture as a PNG file (RGB, 8 bits a channel). Pure; any thread.
#pragma once

#include "lib/recording/player.hpp"

namespace lucid::cli {

// Throws Error{internal} when libpng refuses.
Bytes encode_png(const recording::Picture& picture);

}  // namespace lucid::cli
