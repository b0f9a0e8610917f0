// Random walks against a plain model, through restarts; and death at every single write, before and after it: no firing or resolution is
// lost, and none is told twice unless death came between telling it and marking it told.
#include <map>
#include <random>
#include <set>

#include "rdp/monitor/alerts/test_support.hpp"

using namespace lucid;
using namespace lucid::monitor;

namespace {

constexpr const char* kWalked = R"({"metric":"host_disk_used_ratio","above":0.8,"clear":0.6,"for_seconds":10})";
constexpr const char* kWalkedAtOnce = R"({"metric":"host_disk_used_ratio","below":0.2,"clear":0.3})";

// The same by the plainest means: one rule about one subject.
struct PlainAlert {
  bool above;
  double threshold, clear;
  std::int64_t for_ms;
  std::optional<std::int64_t> since;
  bool firing = false;
  int missed = 0;

  // "firing", "resolved" or nothing.
  std::string tick(std::int64_t now, std::optional<double> v) {
    if (!v) {
      if (!firing && !since) return "";
      if (++missed < kGoneTicks) return "";
      since.reset();
      missed = 0;
      return std::exchange(firing, false) ? "resolved" : "";
    }
    missed = 0;
    bool past = above ? *v > threshold : *v < threshold;
    if (firing) {
      if (above ? *v > clear : *v < clear) return "";
      firing = false;
      return "resolved";
    }
    if (!past) return since.reset(), "";
    if (!since) since = now;
    if (now - *since < for_ms) return "";
    since.reset();
    firing = true;
    return "firing";
  }
};

TEST(AlertWalk, TellsWhatAPlainModelTellsThroughRestarts) {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 dice(seed);
    AlertWorld w;
    w.put("high", kWalked);
    w.put("low", kWalkedAtOnce);
    std::map<std::string, double> values{{"/a", 0.5}, {"/b", 0.5}, {"/c", 0.5}};
    std::map<std::pair<std::string, std::string>, PlainAlert> model;
    for (const auto& [mount, v] : values) {
      model[{"high", mount}] = {true, 0.8, 0.6, 10'000, {}};
      model[{"low", mount}] = {false, 0.2, 0.3, 0, {}};
    }
    std::map<std::string, Id> firing;
    std::set<Id> ids;
    std::uint64_t seq = 0;
    int told = 0;
    for (int i = 0; i < 1'500; ++i) {
      if (dice() % 40 == 0) {
        w.start();
        for (auto& [key, plain] : model) plain.since.reset(), plain.missed = 0;
      }
      std::vector<Reading> readings;
      std::vector<std::string> expected;
      w.clock.advance(1'000 + dice() % 9'000);
      for (auto& [mount, v] : values) {
        v = std::clamp(v + (static_cast<double>(dice() % 1'000) / 1'000 - 0.5) * 0.4, 0.0, 1.0);
        bool missing = dice() % 4 == 0;
        if (!missing) readings.push_back({"host_disk_used_ratio", mount, v});
        for (const char* rule : {"high", "low"}) {
          std::string what = model[{rule, mount}].tick(w.clock.steady_ms(), missing ? std::nullopt : std::optional(v));
          if (!what.empty()) expected.push_back(what + " " + rule + " " + mount);
        }
      }
      w.alerts->judge(readings);
      for (const AlertEvent& e : w.told) {
        ASSERT_EQ(e.seq, ++seq);
        std::string key = e.alert.rule + e.alert.subject;
        if (e.alert.state == AlertState::firing) {
          ASSERT_TRUE(ids.insert(e.alert.id).second);
          ASSERT_TRUE(firing.emplace(key, e.alert.id).second);
        } else {
          ASSERT_EQ(firing[key], e.alert.id);
          firing.erase(key);
        }
        ++told;
      }
      ASSERT_THAT(w.heard(), testing::UnorderedElementsAreArray(expected)) << "tick " << i;
    }
    EXPECT_GT(told, 100);
  }
}

// A short life with everything in it that writes: two at once, a silence that ends, a resolution, a changed rule, one gone.
struct ShortLife {
  AlertWorld w;

  ShortLife() {
    w.put("disk", R"({"metric":"host_disk_used_ratio","above":0.9,"clear":0.8})");
    w.put("net", R"({"metric":"host_network_errors_per_second","above":1})");
  }
  static constexpr int kSteps = 14;
  static Reading disk(const char* mount, double v) { return {"host_disk_used_ratio", mount, v}; }
  static Reading net(double v) { return {"host_network_errors_per_second", "eth0", v}; }

  void act(int i) {
    switch (i) {
      case 0: return w.tick({disk("/", 0.95), disk("/b", 0.96), net(0)});
      case 1: return w.tick({disk("/", 0.95), disk("/b", 0.1), net(0)});
      case 2:
        if (w.alerts->silences().empty()) w.alerts->silence({{}, "net", "", w.clock.wall_ms() + 3'600'000, ""});
        return;
      case 3: return w.tick({disk("/", 0.95), disk("/b", 0.1), net(9)});
      case 4:
        for (const Silence& s : w.alerts->silences()) w.alerts->end_silence(s.id);
        return;
      case 5: return w.tick({disk("/", 0.95), disk("/b", 0.1), net(9)});
      case 6: w.put("disk", R"({"metric":"host_disk_used_ratio","above":0.92,"clear":0.8})"); return;
      case 7: return w.tick({disk("/", 0.95), disk("/b", 0.1), net(9)});
      default: return w.tick({disk("/b", 0.1), net(0)});
    }
  }
  // Goes on after a death as a supervised process does, doing again what failed. `recover` says how it comes back.
  void run(const std::function<void()>& recover) {
    for (int i = 0; i < kSteps; ++i) {
      try {
        act(i);
      } catch (const Error&) {
        ASSERT_TRUE(w.documents.dead());
        recover();
        act(i);
      }
    }
  }
};

const std::vector<std::string> kWholeStory{"firing disk /",   "firing disk /b", "resolved disk /b",  "firing net eth0",
                                           "resolved disk /", "firing disk /",  "resolved net eth0", "resolved disk /"};

// Every event once by its seq, in order; how many were told again.
int check_story(const std::vector<AlertEvent>& told) {
  std::map<std::uint64_t, std::string> by_seq;
  int again = 0;
  for (const AlertEvent& e : told) {
    auto [there, first] = by_seq.emplace(e.seq, say(e));
    EXPECT_EQ(there->second, say(e));
    again += first ? 0 : 1;
  }
  std::vector<std::string> story;
  for (const auto& [seq, what] : by_seq) {
    EXPECT_EQ(seq, story.size() + 1);
    story.push_back(what);
  }
  std::vector<std::string> sorted = kWholeStory;
  std::ranges::sort(sorted);
  std::ranges::sort(story);
  EXPECT_EQ(story, sorted);
  return again;
}

int writes_of_a_life() {
  ShortLife life;
  life.w.documents.die_at(0, false);
  life.run([] { FAIL(); });
  EXPECT_EQ(check_story(life.w.told), 0);
  return life.w.documents.changes();
}

TEST(AlertDeath, AtEveryWriteLosesNothingAndTellsTwiceOnlyWhatWasNotMarked) {
  const int writes = writes_of_a_life();
  ASSERT_GT(writes, 15);
  int told_again = 0;
  for (int n = 1; n <= writes; ++n)
    for (bool after : {false, true}) {
      SCOPED_TRACE(testing::Message() << (after ? "after" : "before") << " write " << n << " of " << writes);
      ShortLife life;
      bool untold_mark = false;
      life.w.documents.die_at(n, after);
      life.run([&] {
        auto mark = life.w.kept.get("alert_states", "told");
        std::uint64_t marked = mark ? json::parse(mark->json).at("seq").to_number<std::uint64_t>() : 0;
        untold_mark = !life.w.told.empty() && life.w.told.back().seq > marked;
        life.w.documents.revive();
        life.w.start();
      });
      int again = check_story(life.w.told);
      EXPECT_EQ(again > 0, untold_mark);
      told_again += again;
      EXPECT_EQ(life.w.kept.count("alert_states", "", ""), 1u);
    }
  EXPECT_GT(told_again, 0);  // the at-least-once case was met
}

TEST(AlertDeath, OfTheStoreAloneIsTakenUpByTheNextTick) {
  const int writes = writes_of_a_life();
  for (int n = 1; n <= writes; ++n)
    for (bool after : {false, true}) {
      SCOPED_TRACE(testing::Message() << (after ? "after" : "before") << " write " << n << " of " << writes);
      ShortLife life;
      life.w.documents.die_at(n, after);
      life.run([&] { life.w.documents.revive(); });
      EXPECT_EQ(check_story(life.w.told), 0);
      EXPECT_EQ(life.w.kept.count("alert_states", "", ""), 1u);
    }
}

TEST(AlertDeath, OfTheStoreNamesTheAlertThatCouldNotBeStored) {
  AlertWorld w;
  w.put("disk", R"({"metric":"host_disk_used_ratio","above":0.9,"summary":"{subject} is {value} full"})");
  w.documents.die_at(1, false);
  try {
    w.tick({ShortLife::disk("/", 0.99)});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::unavailable);
    EXPECT_THAT(e.what(), testing::HasSubstr("disk firing (/ is 99 % full)"));
  }
  EXPECT_TRUE(w.told.empty());
}

TEST(AlertDeath, LeavesOutWhatCannotBeReadAndGoesOn) {
  AlertWorld w;
  w.put("disk", R"({"metric":"host_disk_used_ratio","above":0.9})");
  w.tick({ShortLife::disk("/", 0.99)});
  w.kept.put("alert_rules", "broken", "{");
  w.kept.put("alert_rules", "strange", R"({"metric":"no_such_metric","above":1})");
  w.kept.put("alert_states", "broken", R"({"alert":{}})");
  w.kept.put("alert_silences", "broken", "[]");
  w.kept.put("alert_events", store::sortable(2), "nothing");
  w.start();
  w.tick({ShortLife::disk("/", 0.99)});
  w.tick({ShortLife::disk("/", 0.1)});
  EXPECT_EQ(w.told.size(), 2u);
  EXPECT_EQ(w.told.back().seq, 3u);  // a number that is taken is not given again
}

}  // namespace
