// The parts that need no X server: masking rules, the hold queue, server time, fetch planning, /proc and Xauthority texts.
#include <gmock/gmock.h>

#include "lib/desktop/hold_queue.hpp"
#include "lib/desktop/password_guard.hpp"
#include "lib/desktop/screen.hpp"
#include "lib/desktop/server_clock.hpp"
#include "lib/desktop/xauthority.hpp"

namespace lucid::desktop {
namespace {

// A system as the test wants it: processes and the modes of their terminals.
class WantedSystem final : public SystemProbe {
 public:
  std::vector<ProcessFacts> family(std::uint32_t pid) override {
    ++tree_reads;
    std::vector<ProcessFacts> members;
    std::vector<std::uint32_t> ids{pid};
    for (const ProcessFacts& p : processes)
      if (p.pid == pid || std::find(ids.begin(), ids.end(), p.parent) != ids.end()) {
        members.push_back(p);
        ids.push_back(p.pid);
      }
    return members;
  }
  std::vector<std::uint32_t> named(const std::vector<std::string_view>& names) override {
    std::vector<std::uint32_t> found;
    for (const ProcessFacts& p : processes)
      if (std::find(names.begin(), names.end(), p.name) != names.end()) found.push_back(p.pid);
    return found;
  }
  std::optional<TtyMode> tty_mode(const ProcessFacts& process) override {
    auto it = modes.find(process.tty);
    return it == modes.end() ? std::nullopt : std::optional(it->second);
  }
  std::vector<ProcessFacts> processes;
  std::map<std::uint32_t, TtyMode> modes;
  int tree_reads = 0;
};

constexpr std::uint32_t kTerminal = 100, kShell = 101, kProgram = 102, kTty = 0x8801;

struct GuardTest : testing::Test {
  void in_foreground(const std::string& name) {
    system.processes = {{kTerminal, 1, kTerminal, 0, 0, "xterm"},
                        {kShell, kTerminal, kShell, kTty, kProgram, "bash"},
                        {kProgram, kShell, kProgram, kTty, kProgram, name}};
    now += 1000;
  }
  bool hidden_with(bool echo, bool canonical) {
    system.modes[kTty] = {echo, canonical};
    return guard.hides_input(now);
  }
  void SetUp() override { guard.set_receivers({{kTerminal, "xterm", "xterm.XTerm", "/usr/bin/xterm"}}); }
  WantedSystem system;
  PasswordGuard guard{system, {"*bank*"}, {"secretapp"}};
  std::int64_t now = 0;
};

TEST_F(GuardTest, a_terminal_without_echo_in_canonical_mode_hides_input_whatever_runs) {
  in_foreground("anything");
  EXPECT_FALSE(hidden_with(true, true));
  EXPECT_TRUE(hidden_with(false, true));
}

TEST_F(GuardTest, a_line_editor_does_not_hide_input_but_a_password_program_in_the_same_mode_does) {
  in_foreground("bash");
  EXPECT_FALSE(hidden_with(false, false));
  for (const char* name : {"sudo", "su", "ssh", "gpg", "doas", "passwd", "login"}) {
    in_foreground(name);
    EXPECT_TRUE(hidden_with(false, false)) << name;
    EXPECT_FALSE(hidden_with(true, true)) << name;
  }
}

TEST_F(GuardTest, a_password_program_in_the_background_does_not_count) {
  in_foreground("vim");
  system.processes.push_back({200, kShell, 200, kTty, kProgram, "sudo"});
  EXPECT_FALSE(hidden_with(false, false));
  system.processes.push_back({201, kShell, 201, kTty, kProgram, "pinentry-curses"});
  now += 1000;
  EXPECT_TRUE(hidden_with(false, false));
}

TEST_F(GuardTest, a_terminal_that_cannot_be_inspected_hides_input_only_for_password_programs) {
  in_foreground("bash");
  system.modes.clear();
  EXPECT_FALSE(guard.hides_input(now));
  in_foreground("sudo");
  EXPECT_TRUE(guard.hides_input(now));
}

TEST_F(GuardTest, another_tab_of_the_same_emulator_hides_input_too) {
  in_foreground("bash");
  system.processes.push_back({300, kTerminal, 300, 0x8802, 300, "bash"});
  system.modes[0x8802] = {false, true};
  EXPECT_TRUE(hidden_with(true, true));
}

TEST_F(GuardTest, a_prompt_inside_tmux_hides_input_though_the_server_is_no_child_of_the_terminal) {
  in_foreground("tmux: client");
  system.processes.push_back({400, 1, 400, 0, 0, "tmux: server"});
  system.processes.push_back({401, 400, 401, 0x8803, 402, "bash"});
  system.modes[0x8803] = {true, true};
  EXPECT_FALSE(hidden_with(false, false));
  system.modes[0x8803] = {false, true};
  EXPECT_TRUE(guard.hides_input(now + 500));
}

TEST_F(GuardTest, the_tree_is_read_at_most_every_280_ms_and_modes_every_time) {
  in_foreground("bash");
  hidden_with(true, true);
  int before = system.tree_reads;
  now += 279;
  EXPECT_TRUE(hidden_with(false, true));
  EXPECT_EQ(system.tree_reads, before);
  now += 1;
  hidden_with(true, true);
  EXPECT_EQ(system.tree_reads, before + 1);
}

TEST_F(GuardTest, known_dialogs_and_the_policys_rules_hide_input_by_class_executable_or_title) {
  auto hides = [&](WindowFacts window) {
    guard.set_receivers({std::move(window)});
    return guard.hides_input(now);
  };
  EXPECT_TRUE(hides({0, "", "pinentry-gtk-2.Pinentry-gtk-2", ""}));
  EXPECT_TRUE(hides({0, "", "", "/usr/lib/openssh/gnome-ssh-askpass"}));
  EXPECT_TRUE(hides({0, "", "polkit-gnome-authentication-agent-1.Polkit-gnome", ""}));
  EXPECT_TRUE(hides({0, "", "", "/usr/bin/lxqt-sudo"}));
  EXPECT_TRUE(hides({0, "Enter passphrase for key", "x.X", ""}));
  EXPECT_TRUE(hides({0, "My BANK - Browser", "firefox.Firefox", ""}));
  EXPECT_TRUE(hides({0, "", "", "/opt/SecretApp"}));
  EXPECT_FALSE(hides({0, "notes about passwords", "gedit.Gedit", "/usr/bin/gedit"}));
  EXPECT_TRUE(PasswordGuard::is_password_manager({0, "", "keepassxc.KeePassXC", ""}));
  EXPECT_FALSE(PasswordGuard::is_password_manager({0, "", "xterm.XTerm", "/usr/bin/xterm"}));
}

TEST(Patterns, stars_and_question_marks_match_without_regard_to_case_and_without_blowing_up) {
  EXPECT_TRUE(matches("*", ""));
  EXPECT_TRUE(matches("a?c*", "ABCdef"));
  EXPECT_FALSE(matches("a?c", "abcd"));
  EXPECT_FALSE(matches("", "x"));
  EXPECT_FALSE(matches("*a*a*a*a*a*a*a*a*a*b", std::string(5000, 'a')));
}

// ---- hold queue ----------------------------------------------------------------------------------------------------
struct HoldTest : testing::Test {
  void type(std::int64_t now, char letter, std::uint32_t keycode = 10) {
    queue.push(now, now, keycode, {KeyAction::press, static_cast<std::uint32_t>(letter), 0, false, std::string(1, letter)});
  }
  std::string text(std::vector<DesktopEvent> events) {
    std::string out;
    for (auto& event : events) {
      auto& key = std::get<KeyEvent>(event.payload);
      EXPECT_TRUE(!key.masked || (key.text.empty() && key.keysym == 0 && key.modifiers == 0));
      out += key.masked ? "#" : key.text;
    }
    return out;
  }
  bool hidden = false;
  int checks = 0;
  HoldQueue queue{[this](std::int64_t) { return ++checks, hidden; }};
};

TEST_F(HoldTest, keys_come_out_with_the_first_check_after_300_ms_and_their_own_time) {
  type(1000, 'a');
  EXPECT_TRUE(queue.take(1299).empty());
  EXPECT_TRUE(queue.take(1348).empty()) << "no check within 50 ms of the last";
  auto events = queue.take(1349);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].ms, 1000);
  EXPECT_EQ(text(events), "a");
}

TEST_F(HoldTest, a_prompt_appearing_at_any_check_during_the_hold_masks) {
  type(1000, 'a');
  hidden = true;
  queue.tick(1100);
  hidden = false;
  EXPECT_EQ(text(queue.take(1300)), "#");
}

TEST_F(HoldTest, a_prompt_seen_first_at_the_release_masks) {
  type(1000, 'a');
  hidden = true;
  EXPECT_EQ(text(queue.take(1300)), "#");
}

TEST_F(HoldTest, keys_within_one_second_after_a_prompt_are_masked_and_later_ones_are_not) {
  hidden = true;
  type(1000, 'a');
  hidden = false;
  type(2000, 'b');
  type(2001, 'c');
  EXPECT_EQ(text(queue.take(3000)), "##c");
}

TEST_F(HoldTest, the_release_of_a_masked_key_is_masked_however_late) {
  hidden = true;
  type(1000, 'a', 38);
  hidden = false;
  EXPECT_EQ(text(queue.take(1300)), "#");
  queue.push(9000, 9000, 38, {KeyAction::release, 'a', 0, false, ""});
  auto events = queue.take(9300);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_TRUE(std::get<KeyEvent>(events[0].payload).masked);
  type(9400, 'a', 38);
  EXPECT_EQ(text(queue.take(9700)), "a");
}

TEST_F(HoldTest, nothing_is_checked_and_nothing_is_due_while_nothing_is_held) {
  EXPECT_FALSE(queue.next_deadline());
  queue.tick(5000);
  queue.take(6000);
  EXPECT_EQ(checks, 0);
  type(7000, 'a');
  EXPECT_EQ(queue.next_deadline(), 7100);
  queue.tick(7100);
  EXPECT_EQ(queue.next_deadline(), 7200);
}

TEST_F(HoldTest, at_the_end_what_is_still_held_is_masked) {
  type(1000, 'a');
  type(1200, 'b');
  EXPECT_EQ(text(queue.take_all(1300)), "a#");
  EXPECT_FALSE(queue.next_deadline());
}

// ---- time, planning, parsers ---------------------------------------------------------------------------------------
TEST(ServerClock, an_event_drained_late_keeps_its_time) {
  ServerClock clock;
  clock.bound(5000, 100, 5002);
  EXPECT_NEAR(static_cast<double>(clock.to_steady(200, 9000)), 5101, 1);
  EXPECT_EQ(clock.to_steady(0, 9000), 9000);
}

TEST(ServerClock, no_event_lies_in_the_future_and_the_timestamps_may_wrap) {
  ServerClock clock;
  clock.bound(1000, 0xffffffffu - 5, 1000);
  EXPECT_EQ(clock.to_steady(4, 1010), 1010);
  EXPECT_EQ(clock.to_steady(1000, 1500), 1500);
}

TEST(ServerClock, follows_a_suspend_at_the_next_bound) {
  ServerClock clock;
  clock.bound(1000, 100, 1001);
  clock.bound(601'000, 200, 601'001);  // ten minutes of sleep that the server's clock did not count
  EXPECT_NEAR(static_cast<double>(clock.to_steady(300, 601'500)), 601'100, 2);
}

TEST(PlanFetch, takes_one_bounding_box_only_where_it_is_cheaper) {
  EXPECT_EQ(plan_fetch({{0, 0, 10, 10}, {20, 0, 10, 10}}, 640, 480).size(), 1u);
  EXPECT_EQ(plan_fetch({{0, 0, 10, 10}, {600, 400, 10, 10}}, 640, 480).size(), 2u);
  EXPECT_EQ(plan_fetch({{630, 470, 100, 100}}, 640, 480), (std::vector<Rect>{{630, 470, 10, 10}}));
  EXPECT_TRUE(plan_fetch({{700, 0, 10, 10}}, 640, 480).empty());
}

TEST(ParseStat, survives_names_with_parentheses_and_refuses_what_is_cut_short) {
  auto facts = parse_stat("42 (a) b (c) S 7 41 40 34817 43 4194304 1 2\n");
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->name, "a) b (c");
  EXPECT_EQ(facts->parent, 7u);
  EXPECT_EQ(facts->group, 41u);
  EXPECT_EQ(facts->tty, 34817u);
  EXPECT_EQ(facts->foreground_group, 43u);
  EXPECT_EQ(parse_stat("1 (init) S 0 1 1 0 -1 0")->foreground_group, 0u);
  EXPECT_EQ(facts->threads, 0u) << "cut before that field";
  EXPECT_EQ(parse_stat("42 (a b) S 7 41 40 34817 43 4194304 1 2 3 4 5 6 7 8 20 0 9 0 123 4 5\n")->threads, 9u);
  EXPECT_EQ(parse_stat("42 (a b) S 7 41 40 34817 43 4194304 1 2 3 4 5 6 7 8 20 0\n")->threads, 0u);
  for (const char* bad : {"", "42", "42 (x", "42 (x)", "42 (x) S 7", "x (y) S 1 2 3 4 5", ") ("}) EXPECT_FALSE(parse_stat(bad)) << bad;
}

Bytes auth_entry(std::uint16_t family, std::string_view address, std::string_view number, std::string_view name, std::string_view data) {
  Bytes out{static_cast<std::uint8_t>(family >> 8), static_cast<std::uint8_t>(family)};
  for (std::string_view field : {address, number, name, data}) {
    out.push_back(static_cast<std::uint8_t>(field.size() >> 8));
    out.push_back(static_cast<std::uint8_t>(field.size()));
    out.insert(out.end(), field.begin(), field.end());
  }
  return out;
}

TEST(Xauthority, chooses_this_machines_cookie_for_the_display_and_a_wildcard_only_without_one) {
  Bytes file;
  for (const Bytes& entry :
       {auth_entry(65535, "", "10", "MIT-MAGIC-COOKIE-1", "wild"), auth_entry(256, "other", "10", "MIT-MAGIC-COOKIE-1", "no"),
        auth_entry(256, "here", "11", "MIT-MAGIC-COOKIE-1", "no"), auth_entry(256, "here", "10", "XDM", "no"),
        auth_entry(256, "here", "10", "MIT-MAGIC-COOKIE-1", "yes"), auth_entry(0, "\x0a\x01\x02\x03", "10", "MIT-MAGIC-COOKIE-1", "far")})
    file.insert(file.end(), entry.begin(), entry.end());
  auto data = [&](int number, AuthHost host) {
    auto cookie = find_cookie(file, number, host);
    return cookie && *cookie ? std::string(as_text((*cookie)->data)) : "";
  };
  EXPECT_EQ(data(10, {true, "here", {}}), "yes");
  EXPECT_EQ(data(10, {true, "unknown", {}}), "wild");
  EXPECT_EQ(data(12, {true, "here", {}}), "");
  EXPECT_EQ(data(10, {false, "here", {"\x0a\x01\x02\x03"}}), "far");
  EXPECT_EQ(data(10, {false, "here", {"\x0a\x01\x02\x04"}}), "wild");
  for (std::size_t cut = 1; cut < file.size(); ++cut) (void)find_cookie(ByteView(file).first(cut), 99, {true, "here", {}});
  EXPECT_FALSE(find_cookie(ByteView(file).first(file.size() - 1), 99, {true, "here", {}}));
}

TEST(DisplayName, is_split_into_host_number_and_screen) {
  EXPECT_EQ(parse_display_name(":10")->number, 10);
  EXPECT_EQ(parse_display_name("host:3.1")->host, "host");
  EXPECT_EQ(parse_display_name("host:3.1")->screen, 1);
  EXPECT_EQ(parse_display_name("unix:3")->host, "");
  for (const char* bad : {"", "10", ":", ":x", ":1.", ":-1", ":99999", ":1.1.1"}) EXPECT_FALSE(parse_display_name(bad)) << bad;
}

}  // namespace
}  // namespace lucid::desktop
