#include "node/payouts/money.hpp"

#include <algorithm>

namespace lucid::payouts {
namespace {

constexpr std::size_t kFractionDigits = 6;
constexpr std::size_t kMaxWholeDigits = 10;  // 2^53 micro-units are 9 007 199 254.740992 units

std::unexpected<Error> refused(const char* code, const std::string& why) {
  return std::unexpected(Error(ErrorKind::invalid, code, "read an amount: " + why));
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

Expected<Currency> Currency::parse(std::string_view text) {
  auto good = [](char c) { return is_digit(c) || (c >= 'A' && c <= 'Z'); };
  if (text.size() < 3 || text.size() > 8 || !std::all_of(text.begin(), text.end(), good))
    return std::unexpected(Error(ErrorKind::invalid, "currency_invalid", "read a currency: not 3 to 8 of A-Z and 0-9"));
  return Currency(std::string(text));
}

Currency Currency::usdt() { return Currency("USDT"); }

Expected<void> check_micros(Micros micros, Zero zero) {
  if (micros < 0) return refused("amount_negative", "below zero");
  if (micros == 0 && zero == Zero::refused) return refused("amount_zero", "zero");
  if (micros > kMaxMicros) return refused("amount_too_large", "more than 2^53 micro-units");
  return {};
}

Expected<Micros> parse_micros(std::string_view text, Zero zero) {
  std::size_t point = text.find('.');
  if (point == std::string_view::npos || point == 0 || text.size() - point - 1 != kFractionDigits || (text[0] == '0' && point > 1))
    return refused("amount_malformed", "not like 10.000000");
  Micros micros = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i == point) continue;
    if (!is_digit(text[i])) return refused("amount_malformed", "not like 10.000000");
    // More digits than any amount has are still looked at (they must be digits), not added up.
    if (point <= kMaxWholeDigits) micros = micros * 10 + (text[i] - '0');
  }
  if (point > kMaxWholeDigits) return refused("amount_too_large", "more than 2^53 micro-units");
  if (auto good = check_micros(micros, zero); !good) return std::unexpected(good.error());
  return micros;
}

Expected<Money> parse_money(std::string_view amount, std::string_view currency, const Currency& expected, Zero zero) {
  auto read = Currency::parse(currency);
  if (!read) return std::unexpected(read.error());
  if (*read != expected) return refused("currency_mismatch", read->code() + " where " + expected.code() + " is expected");
  auto micros = parse_micros(amount, zero);
  if (!micros) return std::unexpected(micros.error());
  return Money{*micros, *read};
}

std::string to_text(Micros micros) {
  std::string fraction = std::to_string(micros % kMicrosPerUnit);
  std::string text = std::to_string(micros / kMicrosPerUnit) + "." + std::string(kFractionDigits - fraction.size(), '0');
  return text + fraction;
}

Micros add(Micros a, Micros b) {
  if (a < 0 || b < 0 || a > kMaxMicros || b > kMaxMicros - a)
    throw Error(ErrorKind::invalid, "amount_too_large", "add up amounts: more than 2^53 micro-units");
  return a + b;
}

}  // namespace lucid::payouts
