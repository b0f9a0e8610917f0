#include "app/cli/top_view.hpp"

#include <algorithm>
#include <array>
#include <climits>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "lib/base/bytes.hpp"

namespace lucid::cli {
namespace {

constexpr const char* kBold = "\x1b[1m";
constexpr const char* kGood = "\x1b[32m";
constexpr const char* kWarn = "\x1b[33m";
constexpr const char* kBad = "\x1b[31m";
constexpr const char* kPlain = "\x1b[0m";

// ---- reading the answers ---------------------------------------------------------------------------------------------------------------
const json::value* member_at(const json::value& object, std::string_view key) {
  const json::object* o = object.if_object();
  return o != nullptr ? o->if_contains(key) : nullptr;
}

std::optional<double> number(const json::value& object, std::string_view key) {
  const json::value* v = member_at(object, key);
  if (v == nullptr) return std::nullopt;
  if (v->is_double()) return v->get_double();
  if (v->is_int64()) return static_cast<double>(v->get_int64());
  if (v->is_uint64()) return static_cast<double>(v->get_uint64());
  return std::nullopt;
}

std::optional<double> number(const json::value& object, std::string_view outer, std::string_view key) {
  const json::value* v = member_at(object, outer);
  return v != nullptr ? number(*v, key) : std::nullopt;
}

std::string words(const json::value& object, std::string_view key) {
  const json::value* v = member_at(object, key);
  return v != nullptr && v->is_string() ? std::string(v->get_string()) : std::string();
}

bool is_true(const json::value& object, std::string_view key) {
  const json::value* v = member_at(object, key);
  return v != nullptr && v->is_bool() && v->get_bool();
}

const json::array& list(const json::value& object, std::string_view key) {
  static const json::array kNone;
  const json::value* v = member_at(object, key);
  return v != nullptr && v->is_array() ? v->get_array() : kNone;
}

// ---- numbers as words ------------------------------------------------------------------------------------------------------------------
std::string percent(std::optional<double> ratio) {
  return ratio ? fmt::format("{:.0f}%", std::clamp(*ratio * 100, -99'999.0, 99'999.0)) : "-";
}

std::string size(std::optional<double> bytes) {
  if (!bytes) return "-";
  constexpr std::array<const char*, 6> kUnits{"B", "k", "M", "G", "T", "P"};
  double value = std::clamp(*bytes, -9e17, 9e17);
  std::size_t unit = 0;
  for (; std::abs(value) >= 999.5 && unit + 1 < kUnits.size(); value /= 1000) ++unit;
  return fmt::format("{:.{}f}{}", value, unit > 0 && std::abs(value) < 9.95 ? 1 : 0, kUnits[unit]);
}

std::string plain_number(std::optional<double> value, int digits = 0) {
  return value ? fmt::format("{:.{}f}", std::clamp(*value, -99'999'999.0, 99'999'999.0), digits) : "-";
}

std::string time_of(std::optional<double> seconds) {
  if (!seconds) return "-";
  return *seconds < 1 ? fmt::format("{:.0f}ms", std::clamp(*seconds, -99.0, 1.0) * 1000) : plain_number(seconds, 1) + "s";
}

std::string or_dash(std::string text) { return text.empty() ? "-" : text; }

const char* colour_of(std::optional<double> ratio) { return !ratio || *ratio < 0.7 ? kGood : *ratio < 0.9 ? kWarn : kBad; }

// ---- lines -----------------------------------------------------------------------------------------------------------------------------
// A line under way; what no longer fits is left out.
class TopLine {
 public:
  explicit TopLine(const TopStyle& style) : style_(style), left_(style.columns) {}

  TopLine& add(std::string_view text, const char* colour = nullptr) {
    return put(one_column_text(text.substr(0, 4096), style_.unicode), colour);
  }
  TopLine& left(std::string_view text, int width, const char* colour = nullptr) { return cell(text, width, false, colour); }
  TopLine& right(std::string_view text, int width, const char* colour = nullptr) { return cell(text, width, true, colour); }

  TopLine& bar(std::optional<double> ratio, int width) {
    double share = std::clamp(ratio.value_or(0), 0.0, 1.0);
    int eighths = static_cast<int>(std::lround(share * width * 8));
    std::string filled;
    static constexpr std::array<const char*, 8> kParts{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    int full = style_.unicode ? eighths / 8 : (eighths + 4) / 8;
    for (int i = 0; i < full; ++i) filled += style_.unicode ? "█" : "#";
    int used = full;
    if (style_.unicode && eighths % 8 != 0) filled += kParts[static_cast<std::size_t>(eighths % 8)], ++used;
    put("[", nullptr);
    put(filled, colour_of(ratio));
    return put(std::string(static_cast<std::size_t>(std::max(0, width - used)), style_.unicode ? ' ' : '.') + "]", nullptr);
  }

  // One character for how full a core is.
  TopLine& level(std::optional<double> ratio) {
    static constexpr std::array<const char*, 8> kLevels{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double share = std::clamp(ratio.value_or(0), 0.0, 1.0);
    std::string mark =
        style_.unicode ? kLevels[static_cast<std::size_t>(share * 7.99)] : std::string(1, static_cast<char>('0' + share * 9.99));
    return put(mark, colour_of(ratio));
  }

  std::string text() {
    while (!text_.empty() && text_.back() == ' ') text_.pop_back();
    return std::move(text_);
  }

 private:
  TopLine& cell(std::string_view text, int width, bool to_the_right, const char* colour) {
    std::string clean = one_column_text(text.substr(0, 4096), style_.unicode);
    int columns = columns_of(clean);
    if (columns > width) clean = cut(clean, width), columns = width;
    std::string space(static_cast<std::size_t>(width - columns), ' ');
    if (to_the_right) put(space, nullptr);
    put(clean, colour);
    if (!to_the_right) put(space, nullptr);
    return put(" ", nullptr);
  }

  static int columns_of(const std::string& text) {
    return static_cast<int>(std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
  }
  static std::string cut(const std::string& text, int columns) {
    std::size_t end = 0;
    for (; end < text.size(); ++end)
      if ((static_cast<unsigned char>(text[end]) & 0xc0) != 0x80 && columns-- == 0) break;
    return text.substr(0, end);
  }

  TopLine& put(const std::string& clean, const char* colour) {
    std::string fits = cut(clean, left_);
    left_ -= columns_of(fits);
    if (fits.empty()) return *this;
    bool coloured = style_.colour && colour != nullptr;
    text_ += coloured ? colour + fits + kPlain : fits;
    return *this;
  }

  const TopStyle& style_;
  std::string text_;
  int left_;
};

class TopPage {
 public:
  TopPage(const TopData& data, const TopStyle& style) : d_(data), style_(style) {}

  std::vector<std::string> lines() {
    head();
    std::vector<std::string> alerts = alert_lines(), sessions = session_lines(), services = service_lines();
    // From here on the rest of the screen is shared: alerts first, then sessions and services by halves.
    int left = style_.rows - static_cast<int>(lines_.size()) - (style_.live ? 1 : 0);
    left -= append(alerts, std::min(left, std::max(left / 4, 2)));
    int for_services = std::min<int>(static_cast<int>(services.size()), std::max(left / 2, left - static_cast<int>(sessions.size())));
    left -= append(sessions, left - std::max(for_services, 0));
    append(services, left);
    if (style_.live && static_cast<int>(lines_.size()) < style_.rows) {
      while (static_cast<int>(lines_.size()) < style_.rows - 1) lines_.emplace_back();
      lines_.push_back(keys());
    }
    if (static_cast<int>(lines_.size()) > style_.rows) lines_.resize(static_cast<std::size_t>(std::max(style_.rows, 0)));
    return std::move(lines_);
  }

 private:
  int append(std::vector<std::string>& section, int room) {
    int taken = std::clamp<int>(room, 0, static_cast<int>(section.size()));
    std::move(section.begin(), section.begin() + taken, std::back_inserter(lines_));
    return taken;
  }
  void end(TopLine& line) { lines_.push_back(line.text()); }
  TopLine line() const { return TopLine(style_); }

  void head() {
    const json::value& h = d_.host;
    bool roomy = style_.rows >= 18;
    int bar = std::clamp(style_.columns - 44, 8, 40);
    TopLine title = line();
    title.add("lucid top", kBold).add("  ").add(or_dash(words(h, "at")));
    if (!d_.problem.empty()) title.add("  ").add(d_.problem, kBad);
    end(title);
    auto cpu = number(h, "cpu", "used_ratio");
    TopLine cpus = line();
    cpus.add("CPU  ", kBold).bar(cpu, bar).add(fmt::format(" {:>4}", percent(cpu)));
    const json::value* load = member_at(h, "load");
    cpus.add("  load");
    if (load != nullptr && load->is_array())
      for (const json::value& each : load->get_array()) cpus.add(" " + plain_number(number(json::object{{"x", each}}, "x"), 2));
    cpus.add(fmt::format("  iowait {} steal {}", percent(number(h, "cpu", "iowait_ratio")), percent(number(h, "cpu", "steal_ratio"))));
    end(cpus);
    if (roomy) cores();
    auto memory = number(h, "memory", "used_ratio");
    TopLine mem = line();
    mem.add("MEM  ", kBold).bar(memory, bar).add(fmt::format(" {:>4}", percent(memory)));
    mem.add(fmt::format("  {} of {}", size(number(h, "memory", "used_bytes")), size(number(h, "memory", "total_bytes"))));
    mem.add(fmt::format("  swap {} of {}", size(number(h, "memory", "swap_used_bytes")), size(number(h, "memory", "swap_total_bytes"))));
    end(mem);
    if (!roomy) return;
    pressure();
    disks();
    for (const json::value& problem : list(h, "problems"))
      if (problem.is_string()) end(line().add("     ").add(problem.get_string(), kWarn));
    lines_.resize(std::min<std::size_t>(lines_.size(), static_cast<std::size_t>(std::max(style_.rows / 2, 8))));
    lines_.emplace_back();
  }

  void cores() {
    const json::value* cpu = member_at(d_.host, "cpu");
    if (cpu == nullptr) return;
    TopLine cores = line();
    cores.add("     cores ");
    for (const json::value& core : list(*cpu, "cores")) cores.level(number(json::object{{"x", core}}, "x"));
    end(cores);
  }

  void pressure() {
    const json::value& h = d_.host;
    const json::value* pressure = member_at(h, "pressure");
    TopLine psi = line();
    psi.add("PSI  ", kBold);
    for (const char* what : {"cpu", "memory", "io"}) {
      std::optional<double> some = pressure != nullptr ? number(*pressure, what, "some_ratio") : std::nullopt;
      psi.add(fmt::format("{} ", what)).add(percent(some), colour_of(some)).add("  ");
    }
    for (const json::value& zone : list(h, "temperatures")) {
      auto celsius = number(zone, "celsius");
      psi.add(or_dash(words(zone, "zone")) + " ").add(plain_number(celsius) + "C", celsius && *celsius >= 80 ? kBad : kGood).add("  ");
    }
    if (is_true(h, "throttled")) psi.add("throttled  ", kBad);
    if (is_true(h, "undervoltage")) psi.add("undervoltage", kBad);
    end(psi);
  }

  void disks() {
    const char* title = "DISK ";
    for (const json::value& disk : list(d_.host, "disks")) {
      auto used = number(disk, "used_ratio");
      TopLine row = line();
      row.add(title, kBold).left(or_dash(words(disk, "mount")), 18).right(percent(used), 4, colour_of(used));
      row.add(fmt::format("{:>6} free  r {}/s  w {}/s  {}", size(number(disk, "free_bytes")), size(number(disk, "read_bytes_per_second")),
                          size(number(disk, "write_bytes_per_second")), time_of(number(disk, "latency_seconds"))));
      end(row);
      title = "     ";
    }
    title = "NET  ";
    for (const json::value& net : list(d_.host, "network")) {
      TopLine row = line();
      row.add(title, kBold).left(or_dash(words(net, "interface")), 18);
      row.add(fmt::format("in {}/s  out {}/s  errors {}/s", size(number(net, "receive_bytes_per_second")),
                          size(number(net, "transmit_bytes_per_second")), plain_number(number(net, "errors_per_second"), 1)));
      end(row);
      title = "     ";
    }
  }

  std::vector<std::string> alert_lines() {
    std::vector<std::string> out;
    for (const json::value& alert : list(d_.alerts, "alerts")) {
      if (words(alert, "state") != "firing") continue;
      bool critical = words(alert, "severity") == "critical";
      TopLine row = line();
      row.add(critical ? "!! " : "!  ", critical ? kBad : kWarn).add(or_dash(words(alert, "summary")), critical ? kBad : kWarn);
      if (is_true(alert, "silenced")) row.add(" (silenced)");
      row.add("  since " + or_dash(words(alert, "since")));
      out.push_back(row.text());
    }
    return out;
  }

  std::vector<std::string> session_lines() {
    std::vector<const json::value*> all;
    for (const json::value& session : list(d_.sessions, "sessions")) all.push_back(&session);
    const char* key = style_.sort == TopSort::cpu ? "cpu_ratio" : style_.sort == TopSort::memory ? "memory_bytes" : "frames_per_second";
    std::ranges::stable_sort(all, std::greater{}, [&](const json::value* s) { return number(*s, key).value_or(-1); });
    int id_width = style_.columns >= 100 ? 36 : 12;
    std::vector<std::string> out;
    TopLine title = line();
    auto mark = [&](const char* text, TopSort sort) {
      return style_.live && style_.sort == sort ? std::string(text) + "*" : std::string(text);
    };
    title.left("SESSION", id_width, kBold).right(mark("CPU", TopSort::cpu), 5, kBold).right(mark("MEM", TopSort::memory), 5, kBold);
    title.right(mark("FPS", TopSort::frames), 4, kBold).left("STATE", 10, kBold).left("DISPLAY", 7, kBold).right("BACKLOG", 7, kBold);
    title.right("PROC", 4, kBold).right("IN/S", 5, kBold).right("OUT/S", 5, kBold).left("ALARM", 30, kBold);
    out.push_back(title.text());
    for (const json::value* s : all) {
      std::string id = words(*s, "session_id");
      // The end of an id is what differs: its beginning is the time.
      if (id.size() > static_cast<std::size_t>(id_width)) id = id.substr(id.size() - static_cast<std::size_t>(id_width));
      TopLine row = line();
      row.left(or_dash(id), id_width).right(percent(number(*s, "cpu_ratio")), 5).right(size(number(*s, "memory_bytes")), 5);
      row.right(plain_number(number(*s, "frames_per_second")), 4).left(or_dash(words(*s, "state")), 10);
      row.left(or_dash(words(*s, "display")), 7)
          .right(plain_number(number(*s, "backlog")), 7)
          .right(plain_number(number(*s, "processes")), 4);
      row.right(size(number(*s, "receive_bytes_per_second")), 5).right(size(number(*s, "transmit_bytes_per_second")), 5);
      row.left(words(*s, "alarm"), 30, kBad);
      out.push_back(row.text());
    }
    if (all.empty()) out.push_back(line().add("no sessions").text());
    out.emplace_back();
    return out;
  }

  std::vector<std::string> service_lines() {
    std::vector<std::string> out;
    TopLine title = line();
    title.left("SERVICE", 18, kBold).left("STATE", 9, kBold).right("CPU", 5, kBold).right("RSS", 5, kBold).right("REQ/S", 6, kBold);
    title.right("ERR/S", 6, kBold).right("LAG", 6, kBold).right("FILES", 5, kBold).left("VERSION", 10, kBold).left("PROBLEM", 60, kBold);
    out.push_back(title.text());
    for (const json::value& s : list(d_.services, "services")) {
      bool up = is_true(s, "up"), healthy = is_true(s, "healthy");
      TopLine row = line();
      row.left(or_dash(words(s, "service")), 18)
          .left(!up       ? "down"
                : healthy ? "healthy"
                          : "unhealthy",
                9,
                !up       ? kBad
                : healthy ? kGood
                          : kWarn);
      row.right(percent(number(s, "cpu_ratio")), 5).right(size(number(s, "memory_bytes")), 5);
      row.right(plain_number(number(s, "requests_per_second"), 1), 6).right(plain_number(number(s, "errors_per_second"), 1), 6);
      row.right(time_of(number(s, "scrape_seconds")), 6).right(plain_number(number(s, "open_files")), 5);
      row.left(or_dash(words(s, "version")), 10).left(words(s, "problem"), 60, kBad);
      out.push_back(row.text());
    }
    return out;
  }

  std::string keys() const {
    TopLine out = line();
    for (auto [key, meaning] : {std::pair("c", "CPU"), std::pair("m", "memory"), std::pair("f", "frames"), std::pair("q", "quit")})
      out.add(key, kBold).add(fmt::format(" {}  ", meaning));
    return out.text();
  }

  const TopData& d_;
  const TopStyle& style_;
  std::vector<std::string> lines_;
};

// Letters and marks that every terminal draws in one column: Latin, Greek, Cyrillic, punctuation without format characters.
bool one_column(char32_t c) {
  return (c >= 0x20 && c < 0x7f) || (c >= 0xa1 && c <= 0x2ff && c != 0xad) || (c >= 0x370 && c <= 0x482) || (c >= 0x48a && c <= 0x52f) ||
         (c >= 0x2010 && c <= 0x2027) || c == 0x20ac;
}

}  // namespace

std::string one_column_text(std::string_view text, bool unicode) {
  std::string out;
  std::string valid = to_utf8(text, 4096);
  for (std::size_t i = 0; i < valid.size();) {
    auto lead = static_cast<unsigned char>(valid[i]);
    std::size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    char32_t c = length == 1 ? lead : lead & (0xffu >> (length + 1));
    for (std::size_t k = 1; k < length && i + k < valid.size(); ++k) c = c << 6 | (static_cast<unsigned char>(valid[i + k]) & 0x3fu);
    if (one_column(c) && (unicode || length == 1))
      out.append(valid, i, length);
    else
      out += '?';
    i += length;
  }
  return out;
}

std::vector<std::string> top_lines(const TopData& data, const TopStyle& style) { return TopPage(data, style).lines(); }

std::string top_report(const TopData& data, bool unicode) {
  std::string out;
  for (const std::string& line : top_lines(data, {.columns = 200, .rows = 100'000, .unicode = unicode})) out += line + '\n';
  return out;
}

}  // namespace lucid::cli
