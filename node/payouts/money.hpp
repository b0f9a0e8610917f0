// Money: whole micro-units (10^-6) of a currency, 0 to 2^53 (what every JSON reader holds exactly). Text is "10.000000": digits without leading
// zeros, a point, exactly six digits. No floating point, no implicit conversion between currencies. Values; any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "lib/base/error.hpp"

namespace lucid::payouts {

using Micros = std::int64_t;
inline constexpr Micros kMicrosPerUnit = 1'000'000;
inline constexpr Micros kMaxMicros = Micros{1} << 53;

// 3–8 of [A-Z0-9], e.g. "USDT".
class Currency {
 public:
  static Expected<Currency> parse(std::string_view text);  // Error{invalid, "currency_invalid"}
  static Currency usdt();
  const std::string& code() const { return code_; }
  auto operator<=>(const Currency&) const = default;

 private:
  explicit Currency(std::string code) : code_(std::move(code)) {}
  std::string code_;
};

struct Money {
  Micros micros = 0;
  Currency currency = Currency::usdt();
  auto operator<=>(const Money&) const = default;
};

enum class Zero { refused, allowed };

// Error{invalid} "amount_malformed" (also for a sign or too many digits), "amount_zero", "amount_too_large" (over 2^53 micro-units).
Expected<Micros> parse_micros(std::string_view text, Zero zero);
// As above, and Error{invalid, "currency_mismatch"} when `currency` is not `expected`.
Expected<Money> parse_money(std::string_view amount, std::string_view currency, const Currency& expected, Zero zero);
// The same bounds for a number that did not come as text; also "amount_negative".
Expected<void> check_micros(Micros micros, Zero zero);
std::string to_text(Micros micros);  // "10.000000"; `micros` in 0…2^63-1
// a + b of amounts; throws Error{invalid, "amount_too_large"} beyond 2^53.
Micros add(Micros a, Micros b);

}  // namespace lucid::payouts
