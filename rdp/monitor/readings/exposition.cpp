#include "rdp/monitor/readings/exposition.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "lib/base/bytes.hpp"
#include "rdp/monitor/readings/text.hpp"

namespace lucid::monitor {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_blank(char c) { return c == ' ' || c == '\t'; }

void skip_blanks(std::string_view& text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
}

std::string_view take_name(std::string_view& text, bool colons) {
  std::size_t n = 0;
  while (n < text.size() && (is_letter(text[n]) || (colons && text[n] == ':') || (n > 0 && is_digit(text[n])))) ++n;
  std::string_view name = text.substr(0, n);
  text.remove_prefix(n);
  return name;
}

bool same_letters(std::string_view text, std::string_view lower) {
  return std::ranges::equal(text, lower, [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
}

}  // namespace

bool ExpositionCursor::next() {
  std::string_view line;
  while (next_line(text_, line)) {
    ++line_;
    skip_blanks(line);
    if (line.empty() || line.front() == '#') continue;
    name_ = take_name(line, true);
    rest_ = line;
    return true;
  }
  return false;
}

bool ExpositionCursor::parse(Sample& sample) {
  sample.labels.clear();
  if (name_.empty()) return wrong("does not begin with the name of a metric");
  sample.name = name_;
  skip_blanks(rest_);
  if (!rest_.empty() && rest_.front() == '{') {
    rest_.remove_prefix(1);
    if (!parse_labels(sample)) return false;
  } else if (rest_.data() == name_.data() + name_.size()) {
    return wrong("has something after the name that belongs to no metric");
  }
  return parse_value(rest_, sample.value);
}

bool ExpositionCursor::parse_labels(Sample& sample) {
  while (true) {
    skip_blanks(rest_);
    if (rest_.starts_with('}')) break;
    std::string_view label = take_name(rest_, false);
    if (label.empty()) return wrong("has a label without a name");
    skip_blanks(rest_);
    if (!rest_.starts_with('=')) return wrong("has a label without a value");
    rest_.remove_prefix(1);
    skip_blanks(rest_);
    if (!rest_.starts_with('"')) return wrong("has a label whose value is not quoted");
    rest_.remove_prefix(1);
    std::string value;
    while (true) {
      std::size_t stop = rest_.find_first_of("\"\\");
      if (stop == std::string_view::npos) return wrong("has a label value that does not end");
      value.append(rest_.substr(0, stop));
      char at = rest_[stop];
      rest_.remove_prefix(stop + 1);
      if (at == '"') break;
      if (rest_.empty()) return wrong("has a label value that does not end");
      char escaped = rest_.front();
      rest_.remove_prefix(1);
      if (escaped != 'n' && escaped != '\\' && escaped != '"') return wrong("has an escape that is none of \\\\, \\\" and \\n");
      value += escaped == 'n' ? '\n' : escaped;
    }
    if (!is_utf8(value)) return wrong("has a label value that is not UTF-8");
    if (sample.labels.size() == kMaxLabels) return wrong("has more labels than are read");
    if (!sample.labels.emplace(label, std::move(value)).second) return wrong("has a label twice");
    skip_blanks(rest_);
    if (rest_.starts_with(','))
      rest_.remove_prefix(1);
    else if (!rest_.starts_with('}'))
      return wrong("has labels that do not end");
  }
  rest_.remove_prefix(1);
  return true;
}

bool ExpositionCursor::parse_value(std::string_view rest, double& value) {
  std::string_view word = next_word(rest), timestamp = next_word(rest);
  if (word.empty()) return wrong("has no value");
  if (!next_word(rest).empty()) return wrong("has more than a value and a timestamp");
  if (!timestamp.empty() && !to_number<std::int64_t>(timestamp)) return wrong("has a timestamp that is not a whole number");
  std::string_view digits = word;
  bool negative = digits.front() == '-';
  if (negative || digits.front() == '+') digits.remove_prefix(1);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (same_letters(digits, "nan")) {
    value = kUnknown;
  } else if (same_letters(digits, "inf") || same_letters(digits, "infinity")) {
    value = negative ? -kInfinity : kInfinity;
  } else {
    auto number = digits.empty() || !(is_digit(digits.front()) || digits.front() == '.') ? std::nullopt : to_real(digits);
    if (!number) return wrong("has a value that is not a number");
    value = negative ? -*number : *number;
  }
  return true;
}

Error exposition_error(const ExpositionCursor& at) {
  return Error(ErrorKind::malformed, "bad_exposition", fmt::format("line {} of the metrics {}", at.line(), at.problem()));
}

Expected<std::vector<Sample>> parse_exposition(std::string_view text) {
  if (text.size() > kMaxExposition)
    return std::unexpected(
        Error(ErrorKind::malformed, "bad_exposition", fmt::format("the metrics are {} bytes, more than {}", text.size(), kMaxExposition)));
  std::vector<Sample> samples;
  for (ExpositionCursor cursor(text); cursor.next();) {
    if (samples.size() == kMaxSamples)
      return std::unexpected(
          Error(ErrorKind::malformed, "bad_exposition",
                fmt::format("line {} of the metrics is one more than the {} samples that are read", cursor.line(), kMaxSamples)));
    if (!cursor.parse(samples.emplace_back())) return std::unexpected(exposition_error(cursor));
  }
  return samples;
}

}  // namespace lucid::monitor
