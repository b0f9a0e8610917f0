// What lucid-session-start and the manager say to each other over RUNDIR/hook.sock: lines of text, an empty line ends a message. No dependency
// beyond the standard library, because the hook links nothing else. Pure; any thread.
//   hook → manager   lucid-hook 1\nDISPLAY=:10\nXAUTHORITY=/home/u/.Xauthority\n\n
//   manager → hook   go\n/usr/bin/openbox-session\n\n       one line per argument
//                    refuse\nwhy\n\n
// The hook asks again, with back-off, whenever the connection ends before the answer: a manager that restarts ends no session.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lucid::server_manager::hook {

inline constexpr std::size_t kMaxMessage = 4096;
inline constexpr std::string_view kGreeting = "lucid-hook 1";

struct Hello {
  std::string display, xauthority;
};
struct Answer {
  bool go = false;
  std::vector<std::string> lines;  // argv, or the reason
};

inline std::string encode(const Hello& hello) {
  return std::string(kGreeting) + "\nDISPLAY=" + hello.display + "\nXAUTHORITY=" + hello.xauthority + "\n\n";
}

inline std::string encode(const Answer& answer) {
  std::string text = answer.go ? "go\n" : "refuse\n";
  for (const std::string& line : answer.lines) text += line + "\n";
  return text + "\n";
}

// Whether `text` holds a whole message.
inline bool complete(std::string_view text) { return text.ends_with("\n\n"); }

// The lines of one whole message; nullopt when it is not exactly one.
inline std::optional<std::vector<std::string>> lines_of(std::string_view text) {
  if (!complete(text) || text.size() > kMaxMessage || text.find('\0') != std::string_view::npos) return std::nullopt;
  text.remove_suffix(1);
  std::vector<std::string> lines;
  while (!text.empty()) {
    std::size_t end = text.find('\n');
    if (end == 0) return std::nullopt;
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return lines;
}

inline std::optional<Hello> decode_hello(std::string_view text) {
  constexpr std::string_view kDisplay = "DISPLAY=", kAuthority = "XAUTHORITY=";
  auto lines = lines_of(text);
  if (!lines || lines->size() != 3 || (*lines)[0] != kGreeting || !(*lines)[1].starts_with(kDisplay) ||
      !(*lines)[2].starts_with(kAuthority))
    return std::nullopt;
  Hello hello{(*lines)[1].substr(kDisplay.size()), (*lines)[2].substr(kAuthority.size())};
  if (hello.display.empty() || hello.display.size() > 16 || hello.xauthority.size() > 1024 || !hello.xauthority.starts_with('/'))
    return std::nullopt;
  return hello;
}

inline std::optional<Answer> decode_answer(std::string_view text) {
  auto lines = lines_of(text);
  if (!lines || lines->empty() || ((*lines)[0] != "go" && (*lines)[0] != "refuse")) return std::nullopt;
  Answer answer{(*lines)[0] == "go", {lines->begin() + 1, lines->end()}};
  if (answer.go && (answer.lines.empty() || !answer.lines[0].starts_with('/'))) return std::nullopt;
  return answer;
}

}  // namespace lucid::server_manager::hook
