#include "lib/recording/player.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "lib/recording/record_layout.hpp"

namespace lucid::recording {
namespace {

std::unexpected<Error> bad_stream(const char* why) {
  return std::unexpected(Error(ErrorKind::malformed, std::string("picture records: ") + why));
}
bool inside(const Rect& r, const Picture& picture) {
  return r.x >= 0 && r.y >= 0 && !r.empty() && r.right() <= picture.width && r.bottom() <= picture.height;
}

}  // namespace

Expected<bool> Player::apply(const Record& record) {
  const Payload& payload = record.payload;
  if (const auto* end = std::get_if<FrameEnd>(&payload)) return frame_end(*end, record.ms);
  Expected<void> done;
  if (const auto* pixels = std::get_if<Tile>(&payload))
    done = tile(*pixels);
  else if (const auto* move = std::get_if<Copy>(&payload))
    done = copy(*move);
  else if (const auto* back = std::get_if<Restore>(&payload))
    done = restore(*back);
  else if (const auto* keyframe = std::get_if<Keyframe>(&payload))
    done = begin_keyframe(*keyframe);
  else if (const auto* size = std::get_if<ScreenSize>(&payload))
    screen_size(*size);
  else if (const auto* position = std::get_if<CursorPosition>(&payload))
    cursor_ = *position;
  else if (const auto* shape = std::get_if<CursorShape>(&payload))
    shape_ = *shape;
  if (!done) {
    drop_picture();
    return std::unexpected(done.error());
  }
  return false;
}

void Player::drop_picture() {
  has_picture_ = false;
  frame_ = Frame::none;
}

void Player::screen_size(const ScreenSize& size) {
  if (size.width == picture_.width && size.height == picture_.height) return;
  drop_picture();
  has_full_ = false;
  picture_.width = size.width;
  picture_.height = size.height;
  // The memory is taken when a keyframe begins to fill it.
  picture_.pixels = {};
  full_ = {};
  before_ = {};
}

Expected<void> Player::begin_keyframe(const Keyframe& keyframe) {
  if (!layout::screen_ok(picture_.width, picture_.height)) return bad_stream("a keyframe before any screen size");
  has_picture_ = false;
  kept_.clear();
  if (keyframe.kind == KeyframeKind::full) {
    picture_.pixels.assign(static_cast<std::size_t>(picture_.width) * static_cast<std::size_t>(picture_.height), 0);
    covered_ = 0;
    frame_ = Frame::full_keyframe;
  } else if (has_full_ && keyframe.base == full_number_) {
    picture_.pixels = full_;
    frame_ = Frame::diff_keyframe;
  } else {
    frame_ = Frame::none;  // its base is not known here: wait for a keyframe that can be shown
  }
  return {};
}

Expected<void> Player::tile(const Tile& tile) {
  const bool keyframe = frame_ == Frame::full_keyframe || frame_ == Frame::diff_keyframe;
  if (!keyframe && !has_picture_) return {};
  if (!layout::tile_area_ok(tile.area) || !inside(tile.area, picture_)) return bad_stream("a tile outside the screen");
  if (!keyframe) frame_ = Frame::tiles;
  covered_ += tile.area.area();
  const std::size_t stride = static_cast<std::size_t>(picture_.width);
  std::uint32_t* out = picture_.pixels.data() + static_cast<std::size_t>(tile.area.y) * stride + static_cast<std::size_t>(tile.area.x);
  if (auto done = coder_.decode(tile, out, stride); !done || keyframe || tile.codec != TileCodec::planar) return done;
  if (kept_.empty()) kept_ = full_;
  std::uint32_t* keep = kept_.data() + (out - picture_.pixels.data());
  for (int y = 0; y < tile.area.height; ++y, out += stride, keep += stride) std::copy_n(out, tile.area.width, keep);
  return {};
}

Expected<void> Player::copy(const Copy& copy) {
  if (frame_ == Frame::full_keyframe || frame_ == Frame::diff_keyframe) return bad_stream("a copy in a keyframe");
  if (!has_picture_) return {};
  if (frame_ == Frame::tiles) return bad_stream("a copy after a tile of its frame");
  const Rect to{copy.to_x, copy.to_y, copy.from.width, copy.from.height};
  if (!inside(copy.from, picture_) || !inside(to, picture_)) return bad_stream("a copy outside the screen");
  if (frame_ == Frame::none) {
    before_ = picture_.pixels;
    frame_ = Frame::copies;
  }
  const std::size_t stride = static_cast<std::size_t>(picture_.width);
  for (int y = 0; y < to.height; ++y) {
    const std::uint32_t* from = before_.data() + static_cast<std::size_t>(copy.from.y + y) * stride + static_cast<std::size_t>(copy.from.x);
    std::copy_n(from, to.width, picture_.pixels.data() + static_cast<std::size_t>(to.y + y) * stride + static_cast<std::size_t>(to.x));
  }
  return {};
}

Expected<void> Player::restore(const Restore& restore) {
  if (frame_ == Frame::full_keyframe || frame_ == Frame::diff_keyframe) return bad_stream("a restore in a keyframe");
  if (!has_picture_) return {};
  if (!inside(restore.area, picture_)) return bad_stream("a restore outside the screen");
  frame_ = Frame::tiles;
  const std::size_t stride = static_cast<std::size_t>(picture_.width);
  const std::vector<std::uint32_t>& source = restore.from == RestoreFrom::kept && !kept_.empty() ? kept_ : full_;
  for (int y = restore.area.y; y < restore.area.bottom(); ++y) {
    const std::size_t at = static_cast<std::size_t>(y) * stride + static_cast<std::size_t>(restore.area.x);
    std::copy_n(source.data() + at, restore.area.width, picture_.pixels.data() + at);
  }
  return {};
}

Expected<bool> Player::frame_end(const FrameEnd& end, std::int64_t ms) {
  const Frame frame = std::exchange(frame_, Frame::none);
  const bool keyframe = frame == Frame::full_keyframe || frame == Frame::diff_keyframe;
  if (!keyframe && !has_picture_) return false;
  if (!keyframe && end.number != picture_.number + 1) {
    has_picture_ = false;
    return false;
  }
  if (frame == Frame::full_keyframe) {
    if (covered_ != std::int64_t{picture_.width} * picture_.height) return bad_stream("a full keyframe that does not cover the screen");
    full_ = picture_.pixels;
    full_number_ = end.number;
    has_full_ = true;
  }
  has_picture_ = true;
  picture_.number = end.number;
  picture_.lossy = end.lossy;
  picture_.ms = ms;
  return true;
}

}  // namespace lucid::recording
