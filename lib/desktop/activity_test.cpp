// Keys and password masking, windows, clipboard and processes, against a real X server and real programs.
#include <gmock/gmock.h>
#include <unistd.h>
#include <xcb/xcb.h>

#include "lib/desktop/watcher.hpp"

namespace lucid::desktop {
namespace {

using namespace std::chrono_literals;
using test_support::Child;
using test_support::Xvfb;

TEST_F(DesktopTest, typed_text_follows_the_layout) {
  Xvfb server;
  Child manager = server.start_window_manager();
  Watcher watcher(server);
  Child xterm = terminal(server, watcher, {"cat"});
  watcher.during(server, {"xdotool", "type", "--delay", "5", "Hello, World! (1+2)*3 = 9\n"});
  ASSERT_TRUE(watcher.until([&] { return watcher.typed().ends_with("\n"); })) << watcher.typed();
  EXPECT_EQ(watcher.typed(), "Hello, World! (1+2)*3 = 9\n");
  watcher.events.clear();
  watcher.during(server, {"setxkbmap", "de"});
  watcher.pump(200);
  watcher.during(server, {"xdotool", "type", "--delay", "5", "zypern \xc3\xbc\xc3\xb6\xc3\xa4\xc3\x9f \xc3\x84/@\n"});
  ASSERT_TRUE(watcher.until([&] { return watcher.typed().ends_with("\n"); })) << watcher.typed();
  EXPECT_EQ(watcher.typed(), "zypern \xc3\xbc\xc3\xb6\xc3\xa4\xc3\x9f \xc3\x84/@\n");
  // A dead key and its letter: one character, with the second press.
  watcher.events.clear();
  watcher.during(server, {"xdotool", "key", "dead_acute", "e", "Return"});
  ASSERT_TRUE(watcher.until([&] { return watcher.typed().ends_with("\n"); })) << watcher.typed();
  EXPECT_EQ(watcher.typed(), "\xc3\xa9\n");
  // Control makes no text; the modifier is told.
  watcher.events.clear();
  watcher.during(server, {"xdotool", "key", "ctrl+g"});
  watcher.pump(500);
  EXPECT_EQ(watcher.typed(), "");
  EXPECT_TRUE(watcher.has<KeyEvent>([](const KeyEvent& k) { return k.keysym == 'g' && k.modifiers == 4 && k.action == KeyAction::press; }));
}

TEST_F(DesktopTest, keystroke_policies_metadata_and_off_keep_text_inside) {
  Xvfb server;
  Watcher metadata(server, {.keystrokes = Keystrokes::metadata});
  Watcher off(server, {.keystrokes = Keystrokes::off});
  server.run({"xdotool", "type", "secret"});
  metadata.pump(300);
  off.pump(50);
  EXPECT_EQ(metadata.typed(), "######");
  EXPECT_TRUE(off.all<KeyEvent>().empty());
}

TEST_F(DesktopTest, nothing_typed_into_50_password_prompts_leaves_and_all_else_does) {
  Xvfb server;
  Child manager = server.start_window_manager();
  Watcher watcher(server);
  // Two programs that hide input, each saying through the title when it is about to ask.
  Child xterm =
      terminal(server, watcher,
               {"bash", "--norc", "-c",
                "for i in $(seq 1 25); do printf '\\033]2;ask %d\\007' $i; read -s -p 'Password: ' x; echo; done;"
                "exec python3 -c \"import getpass,sys\nfor i in range(26, 51): print('\\033]2;ask %d\\007' % i, end='', flush=True); "
                "getpass.getpass('[sudo] password: ')\nprint('\\033]2;done\\007', end='', flush=True)\nfor l in sys.stdin: pass\""});
  auto titled = [&](const std::string& title) {
    return watcher.until([&] { return watcher.has<WindowEvent>([&](const WindowEvent& w) { return w.title == title; }); });
  };
  for (int i = 1; i <= 50; ++i) {
    ASSERT_TRUE(titled("ask " + std::to_string(i)));
    watcher.during(server, {"xdotool", "type", "--delay", "3", "Hunter2qz\n"});
  }
  ASSERT_TRUE(titled("done"));
  ASSERT_TRUE(watcher.until([&] { return watcher.typed().size() >= 550; }));
  std::string typed = watcher.typed();
  // Nine letters, Return, and the Shift of the first: eleven presses each.
  EXPECT_EQ(typed, std::string(550, '#'));
  // Releases are masked as well.
  EXPECT_FALSE(watcher.has<KeyEvent>([](const KeyEvent& k) { return k.keysym != 0 || !k.masked; }));
  watcher.pump(1500);
  watcher.events.clear();
  watcher.during(server, {"xdotool", "type", "--delay", "3", "after the prompts\n"});
  watcher.until([&] { return watcher.typed().ends_with("\n"); });
  EXPECT_EQ(watcher.typed(), "after the prompts\n");
}

TEST_F(DesktopTest, text_at_a_shell_prompt_is_kept_before_and_after_a_password) {
  Xvfb server;
  Child manager = server.start_window_manager();
  Watcher watcher(server);
  Child xterm = terminal(server, watcher, {"bash", "--norc", "-i"});
  watcher.during(server, {"xdotool", "type", "--delay", "5", "read -s -p Password: x"});
  watcher.pump(500);  // off the hold queue before the prompt appears
  watcher.during(server, {"xdotool", "key", "Return"});
  watcher.pump(1000);
  watcher.during(server, {"xdotool", "type", "--delay", "5", "Hunter2qz\n"});
  watcher.pump(1500);
  watcher.during(server, {"xdotool", "type", "--delay", "5", "echo done\n"});
  ASSERT_TRUE(watcher.until([&] { return watcher.typed().ends_with("done\n"); })) << watcher.typed();
  std::string typed = watcher.typed();
  // The Return that brought the prompt is masked with it: it was on hold when the prompt appeared.
  EXPECT_EQ(typed, "read -s -p Password: x############echo done\n");
}

TEST_F(DesktopTest, windows_are_told_from_creation_to_close_with_title_class_and_process) {
  Xvfb server;
  Child manager = server.start_window_manager();
  Watcher watcher(server);
  Child xterm = terminal(server, watcher, {"bash", "--norc", "-c", "read x; printf '\\033]2;neu \xc3\xbc\\007'; read x"});
  auto seen = [&, pid = static_cast<std::uint32_t>(xterm.pid())](WindowAction action, std::string_view title) {
    return watcher.has<WindowEvent>([&](const WindowEvent& w) {
      return w.action == action && w.title == title && w.wm_class == "xterm.XTerm" && w.executable.ends_with("/xterm") && w.pid == pid &&
             w.geometry.width > 100;
    });
  };
  EXPECT_TRUE(seen(WindowAction::created, "the terminal"));
  EXPECT_TRUE(seen(WindowAction::focused, "the terminal"));
  watcher.during(server, {"xdotool", "key", "Return"});
  EXPECT_TRUE(watcher.until([&] { return seen(WindowAction::changed, "neu \xc3\xbc"); }));
  watcher.during(server, {"xdotool", "search", "--class", "xterm", "windowmove", "200", "150"});
  EXPECT_TRUE(watcher.until([&] {
    return watcher.has<WindowEvent>(
        [](const WindowEvent& w) { return w.action == WindowAction::changed && w.geometry.x >= 200 && w.geometry.x < 220; });
  }));
  watcher.settle();
  // The frame's move is hinted, from the place where the last grab saw it.
  EXPECT_TRUE(std::any_of(watcher.hints.begin(), watcher.hints.end(),
                          [](const MoveHint& h) { return h.from.x >= 10 && h.from.x <= 30 && h.to_x >= 190; }));
  EXPECT_EQ(watcher.picture, screenshot(server));
  xterm.stop();
  EXPECT_TRUE(watcher.until([&] { return seen(WindowAction::closed, "neu \xc3\xbc"); }));
}

TEST_F(DesktopTest, windows_are_told_without_a_window_manager_too) {
  Xvfb server;
  Watcher watcher(server);
  server.run({"xdotool", "mousemove", "100", "100"});
  Child xterm = server.start({"xterm", "-geometry", "60x20+0+0", "-e", "cat"});
  EXPECT_TRUE(watcher.until([&] {
    return watcher.has<WindowEvent>([](const WindowEvent& w) { return w.action == WindowAction::created && w.wm_class == "xterm.XTerm"; });
  }));
  watcher.during(server, {"xdotool", "type", "x"});
  EXPECT_TRUE(watcher.until([&] {
    return watcher.has<WindowEvent>([](const WindowEvent& w) { return w.action == WindowAction::focused && w.wm_class == "xterm.XTerm"; });
  }));
  xterm.stop();
  EXPECT_TRUE(
      watcher.until([&] { return watcher.has<WindowEvent>([](const WindowEvent& w) { return w.action == WindowAction::closed; }); }));
}

TEST_F(DesktopTest, clipboard_changes_are_told_with_types_and_content_even_in_pieces) {
  Xvfb server;
  Watcher watcher(server);
  TempDir scratch;
  auto copy = [&](const std::string& selection, const std::string& content) {
    std::string path = scratch.path() + "/content";
    system_files().replace_file(path, as_bytes(content));
    watcher.during(server, {"xclip", "-selection", selection, "-in", path});
  };
  auto told = [&](const std::string& selection, const std::string& content) {
    return watcher.until([&] {
      return watcher.has<ClipboardEvent>([&](const ClipboardEvent& c) {
        return c.selection == selection && c.complete && as_text(c.content) == content && c.size == content.size() &&
               std::find(c.types.begin(), c.types.end(), "UTF8_STRING") != c.types.end();
      });
    });
  };
  copy("clipboard",
       "gr\xc3\xbc\xc3\x9f"
       "e");
  EXPECT_TRUE(told("CLIPBOARD",
                   "gr\xc3\xbc\xc3\x9f"
                   "e"));
  EXPECT_EQ(watcher.all<ClipboardEvent>().back().text,
            "gr\xc3\xbc\xc3\x9f"
            "e");
  copy("primary", "selected");
  EXPECT_TRUE(told("PRIMARY", "selected"));
  std::string big;
  for (int i = 0; big.size() < 3'000'000; ++i) big += std::to_string(i) + "\n";
  copy("clipboard", big);
  EXPECT_TRUE(told("CLIPBOARD", big));
  EXPECT_EQ(watcher.all<ClipboardEvent>().back().text, big.substr(0, 64 << 10));
}

TEST_F(DesktopTest, a_clipboard_owner_that_never_answers_holds_nobody_up) {
  Xvfb server;
  Watcher watcher(server);
  // Takes the selection and is never heard of again.
  xcb_connection_t* owner = xcb_connect(server.display().c_str(), nullptr);
  ASSERT_EQ(xcb_connection_has_error(owner), 0);
  xcb_window_t window = xcb_generate_id(owner);
  xcb_window_t root = xcb_setup_roots_iterator(xcb_get_setup(owner)).data->root;
  xcb_create_window(owner, 0, window, root, 0, 0, 1, 1, 0, XCB_WINDOW_CLASS_INPUT_ONLY, XCB_COPY_FROM_PARENT, 0, nullptr);
  xcb_set_selection_owner(owner, window, XCB_ATOM_PRIMARY, XCB_CURRENT_TIME);
  xcb_flush(owner);
  watcher.pump(200);
  ASSERT_TRUE(watcher.all<ClipboardEvent>().empty());
  // Meanwhile everything else goes on.
  watcher.during(server, {"xdotool", "mousemove_relative", "--", "-20", "-20"});
  EXPECT_TRUE(watcher.until([&] { return watcher.has<CursorPosition>([](const CursorPosition& c) { return c.x == 300; }); }, 1000));
  ASSERT_TRUE(watcher.until([&] { return !watcher.all<ClipboardEvent>().empty(); }, 5000));
  ClipboardEvent event = watcher.all<ClipboardEvent>()[0];
  EXPECT_EQ(event.selection, "PRIMARY");
  EXPECT_FALSE(event.complete);
  EXPECT_TRUE(event.content.empty());
  EXPECT_EQ(event.owner_pid, static_cast<std::uint32_t>(::getpid()));
  EXPECT_FALSE(watcher.display->next_deadline());
  xcb_disconnect(owner);
}

TEST_F(DesktopTest, processes_of_the_display_are_told_when_asked_for) {
  Xvfb server;
  Watcher watcher(server, {.processes = true});
  Child xterm = server.start({"xterm", "-e", "cat"});
  auto pid = static_cast<std::uint32_t>(xterm.pid());
  EXPECT_TRUE(watcher.until([&] {
    return watcher.has<ProcessEvent>(
        [&](const ProcessEvent& p) { return p.started && p.pid == pid && p.argv.size() == 3 && p.argv[2] == "cat"; });
  }));
  xterm.stop();
  EXPECT_TRUE(watcher.until([&] {
    return watcher.has<ProcessEvent>([&](const ProcessEvent& p) { return !p.started && p.pid == pid && p.executable.ends_with("/xterm"); });
  }));
}

}  // namespace
}  // namespace lucid::desktop
