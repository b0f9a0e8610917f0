// The statement as bytes: JSON (RFC 8259, UTF-8, no spaces, members in a fixed order, whole numbers only; amounts and anything that may pass
// 2^53 as decimal text) with a line for each node carrying its formulas and every input, so each can be followed by hand. The same statement
// gives the same bytes on every machine. Format version 1, the first member. Pure; any thread.
#pragma once

#include <string>

#include "node/payouts/period.hpp"

namespace lucid::payouts {

inline constexpr std::uint64_t kStatementVersion = 1;

std::string to_json_text(const Statement& statement);
std::string to_json_text(const Line& line, const Statement& statement);  // one line, as it stands in the statement
Hash32 digest(std::string_view statement_text);                          // SHA-256 of the bytes

}  // namespace lucid::payouts
