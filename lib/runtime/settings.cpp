#include "lib/runtime/settings.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lib/base/bytes.hpp"

namespace lucid::runtime {
namespace {

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r";
  std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

struct FileLine {
  int number;
  std::string value;
};

Error refused(const std::string& what) { return Error(ErrorKind::invalid, "bad_setting", what); }

std::map<std::string, FileLine> parse_file(std::string_view text, const std::string& file_name) {
  std::map<std::string, FileLine> out;
  for (int number = 1; !text.empty(); ++number) {
    std::size_t end = text.find('\n');
    std::string_view line = trim(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.empty() || line.front() == '#') continue;
    std::size_t equals = line.find('=');
    std::string name(trim(line.substr(0, equals)));
    if (equals == std::string_view::npos || name.empty())
      throw refused(fmt::format("{}:{}: '{}' is not 'name = value'", file_name, number, to_utf8(line, 80)));
    if (!out.emplace(name, FileLine{number, std::string(trim(line.substr(equals + 1)))}).second)
      throw refused(fmt::format("{}:{}: {} is set a second time", file_name, number, to_utf8(name, 80)));
  }
  return out;
}

}  // namespace

std::function<std::optional<std::string>(const std::string&)> integer_between(std::int64_t min, std::int64_t max) {
  return [=](const std::string& text) -> std::optional<std::string> {
    std::optional<std::int64_t> value = parse_integer(text);
    if (value && *value >= min && *value <= max) return std::nullopt;
    return fmt::format("must be an integer from {} to {}", min, max);
  };
}

std::function<std::optional<std::string>(const std::string&)> one_of(std::vector<std::string> words) {
  return [words = std::move(words)](const std::string& text) -> std::optional<std::string> {
    if (std::find(words.begin(), words.end(), text) != words.end()) return std::nullopt;
    return fmt::format("must be one of {}", fmt::join(words, ", "));
  };
}

std::function<std::optional<std::string>(const std::string&)> not_empty() {
  return [](const std::string& text) -> std::optional<std::string> {
    if (!text.empty()) return std::nullopt;
    return "must not be empty";
  };
}

void Settings::declare(Setting setting) {
  if (!index_.emplace(setting.name, entries_.size()).second)
    throw Error(ErrorKind::internal, "the setting " + setting.name + " is declared twice");
  std::string value = setting.fallback;
  entries_.push_back({std::move(setting), std::move(value), "default"});
}

bool Settings::declared(const std::string& name) const { return index_.contains(name); }

void Settings::resolve(const std::map<std::string, std::string>& flags, const std::function<const char*(const char*)>& environment,
                       const std::optional<std::string>& file_text, const std::string& file_name) {
  std::map<std::string, FileLine> file;
  if (file_text) file = parse_file(*file_text, file_name);
  for (const auto& [name, value] : flags)
    if (!index_.contains(name)) throw refused(fmt::format("--{} is not a known setting (`lucid config` lists them)", to_utf8(name, 80)));
  for (const auto& [name, line] : file)
    if (!index_.contains(name)) throw refused(fmt::format("{}:{}: {} is not a known setting", file_name, line.number, to_utf8(name, 80)));

  for (Entry& entry : entries_) {
    const Setting& setting = entry.setting;
    std::string from = "the default of " + setting.name;
    // An empty variable is one that is not set: compose files pass those on.
    const char* variable = setting.environment.empty() || !environment ? nullptr : environment(setting.environment.c_str());
    if (auto flag = flags.find(setting.name); flag != flags.end()) {
      entry.value = flag->second;
      entry.source = "flag";
      from = "--" + setting.name;
    } else if (variable != nullptr && *variable != '\0') {
      entry.value = variable;
      entry.source = "environment";
      from = fmt::format("{} in the environment ({})", setting.environment, setting.name);
    } else if (auto line = file.find(setting.name); line != file.end()) {
      entry.value = line->second.value;
      entry.source = "file";
      from = fmt::format("{}:{}: {}", file_name, line->second.number, setting.name);
    }
    if (!setting.check) continue;
    if (std::optional<std::string> reason = setting.check(entry.value))
      throw refused(setting.secret ? fmt::format("{} {}", from, *reason)
                                   : fmt::format("{} {}, not '{}'", from, *reason, to_utf8(entry.value, 120)));
  }
}

const std::string& Settings::text(const std::string& name) const {
  auto found = index_.find(name);
  if (found == index_.end()) throw Error(ErrorKind::internal, "the setting " + name + " was never declared");
  return entries_[found->second].value;
}

std::int64_t Settings::integer(const std::string& name) const {
  std::optional<std::int64_t> value = parse_integer(text(name));
  if (!value) throw refused(fmt::format("{} must be an integer, not '{}'", name, to_utf8(text(name), 120)));
  return *value;
}

bool Settings::boolean(const std::string& name) const {
  const std::string& value = text(name);
  if (value == "true") return true;
  if (value == "false") return false;
  throw refused(fmt::format("{} must be true or false, not '{}'", name, to_utf8(value, 120)));
}

std::vector<Settings::Shown> Settings::show() const {
  std::vector<Shown> out;
  for (const Entry& entry : entries_) {
    const Setting& setting = entry.setting;
    out.push_back(
        {setting.name, setting.secret && !entry.value.empty() ? "***" : entry.value, entry.source, setting.environment, setting.meaning});
  }
  return out;
}

}  // namespace lucid::runtime
