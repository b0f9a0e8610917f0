#include "lib/desktop/screen.hpp"

#include <bit>

#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <unistd.h>

#include <xcb/damage.h>
#include <xcb/shm.h>
#include <xcb/xcb.h>
#include <xcb/xfixes.h>

#include "lib/base/error.hpp"
#include "lib/base/file_ops.hpp"

namespace lucid::desktop {
namespace {

// A rectangle costs a request and a reply: about as much as comparing 4096 more pixels (measured, docs/capture.md).
constexpr std::int64_t kPixelsPerRequest = 4096;
// A window manager changing the size again and again cannot hold a grab for longer than this.
constexpr int kMaxAttempts = 5;

[[noreturn]] void unsupported(const Connection& connection, const std::string& what) {
  throw Error(ErrorKind::unavailable, "display_unavailable", "open display " + connection.name() + ": " + what);
}

}  // namespace

std::vector<Rect> plan_fetch(std::vector<Rect> damage, int width, int height) {
  std::vector<Rect> pieces;
  std::int64_t sum = 0;
  Rect box;
  for (const Rect& rect : damage) {
    Rect piece = intersect(rect, {0, 0, width, height});
    if (piece.empty()) continue;
    if (pieces.empty()) {
      box = piece;
    } else {
      std::int32_t right = std::max(box.right(), piece.right()), bottom = std::max(box.bottom(), piece.bottom());
      box.x = std::min(box.x, piece.x);
      box.y = std::min(box.y, piece.y);
      box.width = right - box.x;
      box.height = bottom - box.y;
    }
    sum += piece.area();
    pieces.push_back(piece);
  }
  auto count = static_cast<std::int64_t>(pieces.size());
  if (count > 1 && 2 * box.area() < 3 * sum + 2 * kPixelsPerRequest * count) return {box};
  return pieces;
}

Screen::Screen(Connection& connection) : connection_(connection) {
  xcb_connection_t* c = connection_.raw();
  Extension damage = connection_.extension(&xcb_damage_id, "DAMAGE", true);
  connection_.extension(&xcb_xfixes_id, "XFIXES", true);
  damage_event_ = damage.first_event + XCB_DAMAGE_NOTIFY;
  shm_present_ = connection_.extension(&xcb_shm_id, "MIT-SHM", false).present;
  auto damage_version = connection_.wait<xcb_damage_query_version_reply_t>(xcb_damage_query_version(c, 1, 1));
  auto fixes_version = connection_.wait<xcb_xfixes_query_version_reply_t>(xcb_xfixes_query_version(c, 5, 0));
  if (!damage_version || !fixes_version || fixes_version->major_version < 2)
    unsupported(connection_, "the X server's DAMAGE or XFIXES extension is too old");

  const xcb_setup_t* setup = xcb_get_setup(c);
  bool server_little = setup->image_byte_order == XCB_IMAGE_ORDER_LSB_FIRST;
  if (server_little != (std::endian::native == std::endian::little)) unsupported(connection_, "its byte order differs from ours");
  xcb_screen_iterator_t screens = xcb_setup_roots_iterator(setup);
  for (int i = 0; i < connection_.screen_number() && screens.rem > 1; ++i) xcb_screen_next(&screens);
  depth_ = screens.data->root_depth;
  bool format_known = false;
  for (auto f = xcb_setup_pixmap_formats_iterator(setup); f.rem; xcb_format_next(&f)) {
    if (f.data->depth != depth_) continue;
    bits_per_pixel_ = f.data->bits_per_pixel;
    scanline_pad_ = f.data->scanline_pad;
    format_known = true;
  }
  auto channel = [](std::uint32_t mask) { return Channel{mask ? std::countr_zero(mask) : 0, std::popcount(mask)}; };
  for (auto d = xcb_screen_allowed_depths_iterator(screens.data); d.rem; xcb_depth_next(&d))
    for (auto v = xcb_depth_visuals_iterator(d.data); v.rem; xcb_visualtype_next(&v))
      if (v.data->visual_id == screens.data->root_visual) {
        red_ = channel(v.data->red_mask);
        green_ = channel(v.data->green_mask);
        blue_ = channel(v.data->blue_mask);
        native_ = bits_per_pixel_ == 32 && v.data->red_mask == 0xff0000 && v.data->green_mask == 0xff00 && v.data->blue_mask == 0xff;
      }
  bool depth_known = depth_ == 16 || depth_ == 24 || depth_ == 30 || depth_ == 32;
  auto sane = [](const Channel& ch) { return ch.bits >= 4 && ch.bits <= 10; };
  if (!format_known || !depth_known || (bits_per_pixel_ != 16 && bits_per_pixel_ != 32) || !sane(red_) || !sane(green_) || !sane(blue_))
    unsupported(connection_, "colour depth " + std::to_string(depth_) + " (" + std::to_string(bits_per_pixel_) +
                                 " bits a pixel) cannot be recorded; use 16, 24, 30 or 32");
  if (!read_geometry()) unsupported(connection_, "its root window cannot be read");

  region_ = xcb_generate_id(c);
  xcb_xfixes_create_region(c, region_, 0, nullptr);
  damage_ = xcb_generate_id(c);
  if (connection_.check(xcb_damage_create_checked(c, damage_, connection_.root(), XCB_DAMAGE_REPORT_LEVEL_NON_EMPTY)) != 0)
    unsupported(connection_, "the X server refused a DAMAGE object on its root window");
  make_segment();
  damaged_ = true;  // nothing of the screen has been seen yet
}

Screen::~Screen() { drop_segment(); }

bool Screen::handle(const void* raw) {
  auto type = static_cast<const xcb_generic_event_t*>(raw)->response_type & 0x7f;
  if (type == damage_event_) {
    damaged_ = true;
    return true;
  }
  if (type == XCB_CONFIGURE_NOTIFY) {
    auto* event = static_cast<const xcb_configure_notify_event_t*>(raw);
    if (event->window != connection_.root()) return false;
    if (event->width != width_ || event->height != height_) resize_seen_ = true;
    return true;
  }
  return false;
}

bool Screen::read_geometry() {
  auto reply = connection_.wait<xcb_get_geometry_reply_t>(xcb_get_geometry(connection_.raw(), connection_.root()));
  if (!reply) return false;
  resize_seen_ = false;
  bool changed = reply->width != width_ || reply->height != height_;
  width_ = reply->width;
  height_ = reply->height;
  return changed;
}

std::size_t Screen::row_bytes(int width) const {
  auto pad = static_cast<std::size_t>(scanline_pad_);
  return (static_cast<std::size_t>(width) * static_cast<std::size_t>(bits_per_pixel_) + pad - 1) / pad * pad / 8;
}

void Screen::drop_segment() {
  if (!segment_.memory) return;
  if (!connection_.lost()) xcb_shm_detach(connection_.raw(), segment_.id);
  if (segment_.system_v)
    ::shmdt(segment_.memory);
  else
    ::munmap(segment_.memory, segment_.size);
  segment_ = {};
}

// Leaves segment_ empty where the server cannot share memory with us; then pixels go through the socket.
void Screen::make_segment() {
  std::size_t size = row_bytes(width_) * static_cast<std::size_t>(height_);
  if (!shm_present_ || size <= segment_.size) return;
  drop_segment();
  if (!attach_memory_file(size) && !attach_system_v(size)) shm_present_ = false;  // remote, or another IPC namespace
}

// Handing over a file descriptor needs no permissions shared with the server's user and leaves nothing behind.
bool Screen::attach_memory_file(std::size_t size) {
  xcb_connection_t* c = connection_.raw();
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  ::getsockname(xcb_get_file_descriptor(c), reinterpret_cast<sockaddr*>(&address), &length);
  if (address.ss_family != AF_UNIX) return false;
  auto version = connection_.wait<xcb_shm_query_version_reply_t>(xcb_shm_query_version(c));
  if (!version || version->major_version < 1 || (version->major_version == 1 && version->minor_version < 2)) return false;
  File file(::memfd_create("lucid-screen", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  // Sealed, so that no other holder can shrink it under us.
  if (!file || ::ftruncate(file.fd(), static_cast<off_t>(size)) != 0 ||
      ::fcntl(file.fd(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return false;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
  if (memory == MAP_FAILED) return false;
  std::uint32_t id = xcb_generate_id(c);
  int sent = ::fcntl(file.fd(), F_DUPFD_CLOEXEC, 0);  // xcb closes what it sends
  if (sent < 0 || connection_.check(xcb_shm_attach_fd_checked(c, id, sent, 0)) != 0) {
    ::munmap(memory, size);
    return false;
  }
  segment_ = {id, memory, size, false};
  return true;
}

bool Screen::attach_system_v(std::size_t size) {
  int key = ::shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
  if (key < 0) return false;
  void* memory = ::shmat(key, nullptr, 0);
  std::uint32_t id = xcb_generate_id(connection_.raw());
  bool attached = memory != reinterpret_cast<void*>(-1);
  bool shared = attached && connection_.check(xcb_shm_attach_checked(connection_.raw(), id, static_cast<std::uint32_t>(key), 0)) == 0;
  ::shmctl(key, IPC_RMID, nullptr);
  if (!shared) {
    if (attached) ::shmdt(memory);
    return false;
  }
  segment_ = {id, memory, size, true};
  return true;
}

// Empties the server's damage region; what was in it is appended to `out` when `fetch`. Subtract comes before the grab:
// what is drawn in between is reported again.
void Screen::subtract(bool fetch_region, std::vector<Rect>& out) {
  xcb_connection_t* c = connection_.raw();
  damaged_ = false;
  xcb_damage_subtract(c, damage_, XCB_NONE, fetch_region ? region_ : XCB_NONE);
  if (!fetch_region) return;
  auto reply = connection_.wait<xcb_xfixes_fetch_region_reply_t>(xcb_xfixes_fetch_region(c, region_));
  if (!reply) return;
  const xcb_rectangle_t* rects = xcb_xfixes_fetch_region_rectangles(reply.get());
  int count = xcb_xfixes_fetch_region_rectangles_length(reply.get());
  for (int i = 0; i < count; ++i) out.push_back({rects[i].x, rects[i].y, rects[i].width, rects[i].height});
}

PixelView Screen::convert(const std::uint8_t* rows, const Rect& area, std::uint32_t* to) {
  std::size_t stride = row_bytes(area.width);
  auto width = static_cast<std::size_t>(area.width);
  auto scale = [](std::uint32_t pixel, const Channel& ch) -> std::uint32_t {
    std::uint32_t v = pixel >> ch.shift & ((1u << ch.bits) - 1);
    if (ch.bits >= 8) return v >> (ch.bits - 8);
    // The high bits repeat below, so that full intensity becomes 255.
    return v << (8 - ch.bits) | v >> (2 * ch.bits - 8);
  };
  for (std::int32_t y = 0; y < area.height; ++y) {
    const std::uint8_t* row = rows + static_cast<std::size_t>(y) * stride;
    std::uint32_t* out = to + static_cast<std::size_t>(y) * width;
    if (native_) {
      auto* in = reinterpret_cast<const std::uint32_t*>(row);
      for (std::size_t x = 0; x < width; ++x) out[x] = in[x] & 0x00ffffff;
      continue;
    }
    for (std::size_t x = 0; x < width; ++x) {
      std::uint32_t pixel =
          bits_per_pixel_ == 16 ? reinterpret_cast<const std::uint16_t*>(row)[x] : reinterpret_cast<const std::uint32_t*>(row)[x];
      out[x] = scale(pixel, red_) << 16 | scale(pixel, green_) << 8 | scale(pixel, blue_);
    }
  }
  return {area, to, width};
}

Screen::Fetch Screen::fetch_shared(std::span<const Rect> areas, std::vector<PixelView>& out) {
  xcb_connection_t* c = connection_.raw();
  std::vector<xcb_shm_get_image_cookie_t> cookies;
  std::vector<std::size_t> offsets;
  std::size_t offset = 0, pixels = 0;
  for (const Rect& a : areas) {
    offsets.push_back(offset);
    cookies.push_back(xcb_shm_get_image(c, connection_.root(), static_cast<std::int16_t>(a.x), static_cast<std::int16_t>(a.y),
                                        static_cast<std::uint16_t>(a.width), static_cast<std::uint16_t>(a.height), 0xffffffff,
                                        XCB_IMAGE_FORMAT_Z_PIXMAP, segment_.id, static_cast<std::uint32_t>(offset)));
    offset += row_bytes(a.width) * static_cast<std::size_t>(a.height);
    pixels += static_cast<std::size_t>(a.area());
  }
  // Every reply is looked at: after a failed request the segment holds old pixels.
  Fetch result = Fetch::done;
  for (auto cookie : cookies)
    if (!connection_.wait<xcb_shm_get_image_reply_t>(cookie)) result = Fetch::stale;
  if (connection_.lost()) return Fetch::lost;
  if (result != Fetch::done) return result;
  auto* base = static_cast<std::uint8_t*>(segment_.memory);
  if (!native_) converted_.resize(pixels);
  std::size_t at = 0;
  for (std::size_t i = 0; i < areas.size(); ++i) {
    // The usual layout is masked in place: the server writes the bytes anew with each grab.
    auto* rows = base + offsets[i];
    std::uint32_t* to = native_ ? reinterpret_cast<std::uint32_t*>(rows) : converted_.data() + at;
    out.push_back(convert(rows, areas[i], to));
    at += static_cast<std::size_t>(areas[i].area());
  }
  return Fetch::done;
}

Screen::Fetch Screen::fetch_socket(std::span<const Rect> areas, std::vector<PixelView>& out) {
  xcb_connection_t* c = connection_.raw();
  std::size_t pixels = 0;
  std::vector<xcb_get_image_cookie_t> cookies;
  for (const Rect& a : areas) {
    pixels += static_cast<std::size_t>(a.area());
    cookies.push_back(xcb_get_image(c, XCB_IMAGE_FORMAT_Z_PIXMAP, connection_.root(), static_cast<std::int16_t>(a.x),
                                    static_cast<std::int16_t>(a.y), static_cast<std::uint16_t>(a.width),
                                    static_cast<std::uint16_t>(a.height), 0xffffffff));
  }
  converted_.resize(pixels);
  std::size_t at = 0;
  Fetch result = Fetch::done;
  for (std::size_t i = 0; i < areas.size(); ++i) {
    auto reply = connection_.wait<xcb_get_image_reply_t>(cookies[i]);
    std::size_t need = row_bytes(areas[i].width) * static_cast<std::size_t>(areas[i].height);
    if (!reply || static_cast<std::size_t>(xcb_get_image_data_length(reply.get())) < need) {
      result = Fetch::stale;
      continue;
    }
    out.push_back(convert(xcb_get_image_data(reply.get()), areas[i], converted_.data() + at));
    at += static_cast<std::size_t>(areas[i].area());
  }
  if (connection_.lost()) return Fetch::lost;
  return result;
}

Screen::Fetch Screen::fetch(std::span<const Rect> areas, std::vector<PixelView>& out) {
  out.clear();
  if (areas.empty()) return Fetch::done;
  std::size_t need = 0;
  for (const Rect& a : areas) need += row_bytes(a.width) * static_cast<std::size_t>(a.height);
  // Overlapping areas may ask for more than a screen: those go one by one through the socket.
  return segment_.memory && need <= segment_.size ? fetch_shared(areas, out) : fetch_socket(areas, out);
}

// Grabs `areas`; when the size changed before or while grabbing, the whole new screen instead.
Screen::Pixels Screen::fetch_current(std::span<const Rect> areas, bool everything) {
  Pixels result;
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    if (resize_seen_ && read_geometry()) {
      result.resized = true;
      make_segment();
    }
    const Rect whole{0, 0, width_, height_};
    Fetch outcome = fetch(result.resized || everything ? std::span<const Rect>(&whole, 1) : areas, result.areas);
    if (outcome == Fetch::done) {
      if (result.resized) {
        std::vector<Rect> nowhere;
        subtract(false, nowhere);
        damaged_ = true;  // drawn between the grab and this subtract: look once more
      }
      return result;
    }
    result.areas.clear();
    if (outcome == Fetch::lost) return result;
    resize_seen_ = true;  // BadMatch: the root is smaller than we think
  }
  // Nothing could be read, so nothing may count as seen.
  damaged_ = true;
  return result;
}

Screen::Pixels Screen::grab_damage() {
  if (!damage_pending() || connection_.lost()) return {};
  std::vector<Rect> damage;
  subtract(true, damage);
  return fetch_current(plan_fetch(std::move(damage), width_, height_), false);
}

Screen::Pixels Screen::grab_all() {
  if (connection_.lost()) return {};
  std::vector<Rect> nowhere;
  subtract(false, nowhere);
  return fetch_current({}, true);
}

Screen::Pixels Screen::grab(std::span<const Rect> areas) {
  if (connection_.lost()) return {};
  std::vector<Rect> clipped;
  for (const Rect& area : areas)
    if (Rect piece = intersect(area, {0, 0, width_, height_}); !piece.empty()) clipped.push_back(piece);
  return fetch_current(clipped, false);
}

}  // namespace lucid::desktop
