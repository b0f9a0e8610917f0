// What is kept, bounded and asked of alerts: rules over restarts, limits, the newest events, and asking while they are judged.
#include <atomic>
#include <thread>

#include "rdp/monitor/alerts/test_support.hpp"

using namespace lucid;
using namespace lucid::monitor;
using testing::IsEmpty;

namespace {

constexpr const char* kAnyRule = R"({"metric":"host_cpu_used_ratio","above":0.8,"clear":0.7,"for_seconds":10,"summary":"CPU {value}"})";
constexpr const char* kAnyDiskRule = R"({"metric":"host_disk_used_ratio","above":0.9,"clear":0.8,"summary":"{subject} is {value} full"})";

Reading a_disk(std::string mount, double v) { return {"host_disk_used_ratio", std::move(mount), v}; }

TEST(AlertRules, AreKeptOverARestartAndBuiltInOnesCannotBeRemoved) {
  AlertWorld w(false);
  w.put("mine", kAnyDiskRule);
  Rule cpu_high = w.put("host_cpu_high", R"({"metric":"host_cpu_used_ratio","above":0.5})");
  EXPECT_TRUE(cpu_high.built_in);
  w.start();
  auto rules = w.alerts->rules();
  EXPECT_EQ(rules.size(), default_rules().size() + 1);
  for (const Rule& r : rules) {
    EXPECT_EQ(r.built_in, r.name != "mine");
    if (r.name == "host_cpu_high") { EXPECT_EQ(r.threshold, 0.5); }
  }
  try {
    w.alerts->remove_rule("host_cpu_high");
    FAIL();
  } catch (const Error& e) { EXPECT_EQ(e.kind(), ErrorKind::conflict); }
  w.alerts->remove_rule("mine");
  try {
    w.alerts->remove_rule("mine");
    FAIL();
  } catch (const Error& e) { EXPECT_EQ(e.kind(), ErrorKind::not_found); }
  w.start();
  EXPECT_EQ(w.alerts->rules().size(), default_rules().size());
}

TEST(AlertRules, AndSilencesAreBounded) {
  AlertWorld w(false);
  auto code_of = [](const std::function<void()>& f) -> std::string {
    try {
      f();
    } catch (const Error& e) { return e.code(); }
    return "none";
  };
  for (std::size_t i = default_rules().size(); i < kMaxRules; ++i) w.put("r" + std::to_string(i), kAnyDiskRule);
  EXPECT_EQ(code_of([&] { w.put("more", kAnyDiskRule); }), "limit_reached");
  EXPECT_EQ(code_of([&] { w.put("r400", kAnyRule); }), "none");
  Silence s{{}, "x", "", w.clock.wall_ms() + 1'000, ""};
  for (std::size_t i = 0; i < kMaxSilences; ++i) w.alerts->silence(s);
  EXPECT_EQ(code_of([&] { w.alerts->silence(s); }), "limit_reached");
  std::vector<std::string> pointers;
  try {
    w.alerts->silence({{}, "a*b", "x\ny", w.clock.wall_ms(), "\x1b[1m"});
  } catch (const Error& e) {
    for (const FieldError& f : e.fields()) pointers.push_back(f.pointer);
  }
  EXPECT_THAT(pointers, testing::ElementsAre("/rule", "/subject", "/reason", "/until"));
  s.until_wall_ms = w.clock.wall_ms();
  EXPECT_EQ(code_of([&] { w.alerts->silence(s); }), "invalid");
  s.until_wall_ms += 367LL * 86'400'000;
  EXPECT_EQ(code_of([&] { w.alerts->silence(s); }), "invalid");
  Rule bad;
  bad.name = "bad";
  EXPECT_EQ(code_of([&] { w.alerts->put_rule(bad); }), "invalid");
}

TEST(Alerts, PerRuleAreBoundedAndTheRestIsCounted) {
  AlertWorld w;
  w.put("memory", R"({"metric":"session_memory_bytes","above":1})");
  std::vector<Reading> churn;
  for (int i = 0; i < 1'500; ++i) churn.push_back({"session_memory_bytes", "s" + std::to_string(i), 5});
  w.tick(churn);
  EXPECT_EQ(w.alerts->live().size(), kMaxLivePerRule);
  EXPECT_EQ(w.alerts->left_out(), 500u);
  EXPECT_EQ(w.told.size(), kMaxLivePerRule);
  w.start();
  EXPECT_EQ(w.alerts->live().size(), kMaxLivePerRule);
  for (int i = 0; i < 3; ++i) w.tick({});
  EXPECT_THAT(w.live(), IsEmpty());
  EXPECT_EQ(w.told.size(), 2 * kMaxLivePerRule);
  EXPECT_EQ(w.kept.count("alert_states", "", ""), 1u);  // the told mark
}

TEST(Alerts, KeepTheNewestEventsAndPageThem) {
  AlertWorld w;
  w.put("disk", kAnyDiskRule);
  // The older ones of a long life, as far as they matter here: their numbers.
  for (std::uint64_t seq = 1; seq <= 10'000; ++seq) w.kept.put("alert_events", store::sortable(seq), "{}");
  w.kept.put("alert_states", "told", R"({"seq":10000})");
  w.start();
  for (int i = 0; i < 100; ++i) {
    w.tick({a_disk("/", 0.95)});
    w.tick({a_disk("/", 0.1)});
  }
  EXPECT_EQ(w.alerts->last_seq(), 10'200u);
  std::uint64_t kept = w.kept.count("alert_events", "", "");
  EXPECT_GE(kept, kKeptEvents);
  EXPECT_LT(kept, kKeptEvents + 100);
  auto newest = w.alerts->past(0, 2);
  ASSERT_EQ(newest.size(), 2u);
  EXPECT_EQ(newest[0].seq, 10'200u);
  EXPECT_EQ(w.alerts->past(newest[1].seq, 1)[0].seq, 10'198u);
  auto after = w.alerts->after(10'198, 10);
  ASSERT_EQ(after.size(), 2u);
  EXPECT_EQ(after[0].seq, 10'199u);
  EXPECT_EQ(to_json(after[1]), to_json(newest[0]));
  EXPECT_THAT(w.alerts->after(UINT64_MAX, 10), IsEmpty());
  w.start();
  w.tick({a_disk("/", 0.95)});
  EXPECT_EQ(w.alerts->last_seq(), 10'201u);
}

TEST(Alerts, AreJudgedWhileOthersAskAndChange) {
  AlertWorld w;
  SystemClock clock;
  store::MemoryDocuments documents;
  std::uint64_t last = 0;
  bool ordered = true;
  Alerts alerts(documents, clock, w.random, [&](const AlertEvent& e) { ordered = ordered && std::exchange(last, e.seq) + 1 == e.seq; });
  json::value body = json::parse(R"({"metric":"host_disk_used_ratio","above":0.5})");
  alerts.put_rule(read_rule("disk", body));
  std::atomic<bool> done{false};
  std::vector<std::thread> others;
  others.emplace_back([&] {
    while (!done) {
      alerts.live();
      alerts.rules();
      alerts.past(0, 10);
      alerts.after(alerts.last_seq() / 2, 10);
      alerts.left_out();
    }
  });
  others.emplace_back([&] {
    for (int i = 0; !done; ++i) {
      Rule r = read_rule("disk", body);
      r.threshold = r.clear = i % 2 == 0 ? 0.4 : 0.5;
      alerts.put_rule(r);
      alerts.put_rule(read_rule("other", body));
      alerts.remove_rule("other");
    }
  });
  others.emplace_back([&] {
    while (!done) {
      Silence s = alerts.silence({{}, "disk", "", clock.wall_ms() + 60'000, ""});
      alerts.silences();
      alerts.end_silence(s.id);
    }
  });
  others.emplace_back([&] {  // a second judge is allowed, if odd
    while (!done) alerts.judge(std::vector<Reading>{a_disk("/b", 0.45)});
  });
  for (int i = 0; i < 300; ++i) alerts.judge(std::vector<Reading>{a_disk("/", i % 3 == 0 ? 0.9 : 0.1), a_disk("/b", 0.45)});
  done = true;
  for (auto& t : others) t.join();
  alerts.judge({});
  EXPECT_TRUE(ordered);
  EXPECT_EQ(last, alerts.last_seq());
}

}  // namespace
