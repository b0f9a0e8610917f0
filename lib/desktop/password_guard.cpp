#include "lib/desktop/password_guard.hpp"

#include <algorithm>
#include <array>

namespace lucid::desktop {
namespace {

// Below HoldQueue::kHoldMs: a key is never let go without a look at the processes after it was pressed.
constexpr std::int64_t kTreeMaxAgeMs = 280;
constexpr std::int64_t kServersMaxAgeMs = 2000;

// Dialogs and screen lockers that take passwords, by program name or WM_CLASS.
constexpr std::array<std::string_view, 26> kPromptPrograms = {
    "pinentry*",     "*ssh-askpass*", "ksshaskpass",     "*polkit*",     "lxpolkit",      "gcr-prompter",         "lxqt-sudo",
    "kdesu*",        "gksu*",         "gnome-keyring*",  "seahorse*",    "kwalletd*",     "kwalletmanager*",      "i3lock*",
    "xscreensaver*", "xlock*",        "slock",           "xsecurelock*", "light-locker*", "*-screensaver-dialog", "kscreenlocker*",
    "*-greeter",     "xtrlock",       "zenity-password", "ssh-askpass",  "pkttyagent"};
constexpr std::array<std::string_view, 8> kPromptTitles = {
    "authenticate",     "authentication required*", "authentication is required*", "*enter passphrase*",
    "*enter password*", "unlock keyring",           "unlock login keyring",        "*unlock * keyring*"};
// comm of programs that read passwords, some of them with a mode a line editor also uses (at most 15 bytes each).
constexpr std::array<std::string_view, 25> kPasswordPrograms = {
    "sudo",     "sudoedit",        "su",           "passwd",         "ssh",  "sshpass", "sftp",
    "scp",      "login",           "gpg",          "gpg2",           "doas", "pkexec",  "pkttyagent",
    "kinit",    "ssh-add",         "ssh-keygen",   "cryptsetup",     "chsh", "chfn",    "vlock",
    "pinentry", "pinentry-curses", "pinentry-tty", "systemd-ask-pas"};
constexpr std::array<std::string_view, 9> kPasswordManagers = {"keepass*",   "*bitwarden*", "*1password*",     "*enpass*",     "*lastpass*",
                                                               "*dashlane*", "seahorse*",   "kwalletmanager*", "*proton-pass*"};
// A multiplexer's server is not below the terminal that shows it, and its client's terminal tells nothing.
const std::vector<std::string_view> kMultiplexerClients = {"tmux: client", "tmux", "screen"};
const std::vector<std::string_view> kMultiplexerServers = {"tmux: server", "screen"};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool contains(const auto& list, const auto& word) { return std::find(list.begin(), list.end(), word) != list.end(); }

std::string_view last_component(std::string_view path) {
  std::size_t slash = path.rfind('/');
  return slash == path.npos ? path : path.substr(slash + 1);
}

// WM_CLASS is "instance.Class"; each half may be the program's name.
bool program_matches(std::string_view pattern, const WindowFacts& window) {
  if (!window.executable.empty() && matches(pattern, last_component(window.executable))) return true;
  if (window.wm_class.empty()) return false;
  if (matches(pattern, window.wm_class)) return true;
  for (std::size_t dot = window.wm_class.find('.'); dot != std::string::npos; dot = window.wm_class.find('.', dot + 1)) {
    std::string_view whole = window.wm_class;
    if (matches(pattern, whole.substr(0, dot)) || matches(pattern, whole.substr(dot + 1))) return true;
  }
  return false;
}

}  // namespace

bool matches(std::string_view pattern, std::string_view text) {
  // Greedy with one point of return: linear in pattern x text, so a hostile title costs nothing much.
  std::size_t p = 0, t = 0, star = pattern.npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || lower(pattern[p]) == lower(text[t]))) {
      ++p, ++t;
    } else if (star != pattern.npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

PasswordGuard::PasswordGuard(SystemProbe& system, std::vector<std::string> title_rules, std::vector<std::string> executable_rules)
    : system_(system), title_rules_(std::move(title_rules)), executable_rules_(std::move(executable_rules)) {}

bool PasswordGuard::is_prompt(const WindowFacts& window) const {
  auto title = [&](std::string_view rule) { return matches(rule, window.title); };
  auto program = [&](std::string_view rule) { return program_matches(rule, window); };
  return std::any_of(kPromptPrograms.begin(), kPromptPrograms.end(), program) ||
         std::any_of(kPromptTitles.begin(), kPromptTitles.end(), title) || std::any_of(title_rules_.begin(), title_rules_.end(), title) ||
         std::any_of(executable_rules_.begin(), executable_rules_.end(), program);
}

bool PasswordGuard::is_password_manager(const WindowFacts& window) {
  return std::any_of(kPasswordManagers.begin(), kPasswordManagers.end(),
                     [&](std::string_view rule) { return program_matches(rule, window); });
}

void PasswordGuard::set_receivers(std::vector<WindowFacts> windows) {
  std::vector<std::uint32_t> pids;
  prompt_ = false;
  for (const WindowFacts& window : windows) {
    prompt_ = prompt_ || is_prompt(window);
    if (window.pid != 0 && !contains(pids, window.pid)) pids.push_back(window.pid);
  }
  if (pids == pids_) return;
  pids_ = std::move(pids);
  terminals_read_.reset();
}

bool PasswordGuard::hides_input(std::int64_t now) {
  if (prompt_) return true;
  if (pids_.empty()) {
    terminals_.clear();
    return false;
  }
  if (!terminals_read_ || now - *terminals_read_ >= kTreeMaxAgeMs || now < *terminals_read_) read_terminals(now);
  for (const Terminal& terminal : terminals_) {
    auto mode = system_.tty_mode(terminal.anyone);
    bool echo = mode && mode->echo;
    // No echo but canonical: a password prompt. Neither: a line editor, or a prompt that shows stars.
    if (mode && !mode->echo && mode->canonical) return true;
    if (!echo && terminal.password_program) return true;
  }
  return false;
}

void PasswordGuard::collect(std::uint32_t pid) {
  for (ProcessFacts& process : system_.family(pid)) {
    if (process.tty == 0) continue;
    bool foreground = process.group == process.foreground_group;
    if (foreground && contains(kMultiplexerClients, process.name)) multiplexer_ = true;
    auto same = std::find_if(terminals_.begin(), terminals_.end(), [&](const Terminal& t) { return t.anyone.tty == process.tty; });
    // pinentry-curses is started by gpg-agent and never in the terminal's foreground group: its name is enough.
    bool asks = contains(kPasswordPrograms, process.name) && (foreground || process.name.starts_with("pinentry"));
    if (same == terminals_.end())
      terminals_.push_back({std::move(process), asks});
    else
      same->password_program = same->password_program || asks;
  }
}

void PasswordGuard::read_terminals(std::int64_t now) {
  terminals_read_ = now;
  terminals_.clear();
  bool had_multiplexer = multiplexer_;
  multiplexer_ = false;
  for (std::uint32_t pid : pids_) collect(pid);
  if (!multiplexer_) return;
  if (!had_multiplexer || !servers_read_ || now - *servers_read_ >= kServersMaxAgeMs) {
    multiplexer_servers_ = system_.named(kMultiplexerServers);
    servers_read_ = now;
  }
  for (std::uint32_t server : multiplexer_servers_) collect(server);
}

}  // namespace lucid::desktop
