// What becomes of alerts: durations, hysteresis, subjects that end, silences, changed rules, limits, and what is written and told when.
#include <cmath>

#include "rdp/monitor/alerts/test_support.hpp"

using namespace lucid;
using namespace lucid::monitor;
using testing::ElementsAre;
using testing::IsEmpty;

namespace {

constexpr const char* kCpuRule = R"({"metric":"host_cpu_used_ratio","above":0.8,"clear":0.7,"for_seconds":10,"summary":"CPU {value}"})";
constexpr const char* kDiskRule = R"({"metric":"host_disk_used_ratio","above":0.9,"clear":0.8,"summary":"{subject} is {value} full"})";

Reading cpu(double v) { return {"host_cpu_used_ratio", "", v}; }
Reading disk(std::string mount, double v) { return {"host_disk_used_ratio", std::move(mount), v}; }

TEST(Alerts, FireWhenTheConditionHeldForItsTimeAndAreToldOnce) {
  AlertWorld w;
  w.put("cpu", kCpuRule);
  w.tick({cpu(0.9)});
  EXPECT_THAT(w.live(), ElementsAre("pending cpu "));
  w.tick({cpu(0.9)});
  EXPECT_THAT(w.heard(), IsEmpty());
  w.tick({cpu(0.95)});
  EXPECT_THAT(w.live(), ElementsAre("firing cpu "));
  ASSERT_EQ(w.told.size(), 1u);
  const Alert a = w.told[0].alert;
  EXPECT_EQ(a.summary, "CPU 95 %");
  EXPECT_EQ(a.since_wall_ms + 10'000, a.fired_wall_ms);
  EXPECT_EQ(a.threshold, 0.8);
  EXPECT_FALSE(a.id.is_nil());
  EXPECT_THAT(w.heard(), ElementsAre("firing cpu "));
  for (int i = 0; i < 100; ++i) w.tick({cpu(0.99)});
  EXPECT_THAT(w.heard(), IsEmpty());
  w.tick({cpu(0.6)});
  ASSERT_EQ(w.told.size(), 1u);
  EXPECT_EQ(w.told[0].alert.id, a.id);
  EXPECT_EQ(w.told[0].alert.cause, "cleared");
  EXPECT_EQ(w.told[0].alert.summary, "CPU 60 %");
  EXPECT_THAT(w.heard(), ElementsAre("resolved cpu "));
  EXPECT_THAT(w.live(), IsEmpty());
}

TEST(Alerts, DoNotFireWhenTheConditionPausesBeforeItsTime) {
  AlertWorld w;
  w.put("cpu", kCpuRule);
  for (int i = 0; i < 20; ++i) w.tick({cpu(i % 2 == 0 ? 0.95 : 0.75)});
  EXPECT_THAT(w.heard(), IsEmpty());
}

TEST(Alerts, DoNotFlapBetweenThresholdAndClear) {
  AlertWorld w;
  w.put("disk", kDiskRule);
  for (int i = 0; i < 100; ++i) w.tick({disk("/", i % 2 == 0 ? 0.91 : 0.81)});
  EXPECT_THAT(w.heard(), ElementsAre("firing disk /"));
}

TEST(Alerts, ThatFireAgainAreNewOnes) {
  AlertWorld w;
  w.put("disk", kDiskRule);
  w.tick({disk("/", 0.95)});
  w.tick({disk("/", 0.5)});
  w.tick({disk("/", 0.95)});
  ASSERT_EQ(w.told.size(), 3u);
  EXPECT_EQ(w.told[0].alert.id, w.told[1].alert.id);
  EXPECT_NE(w.told[0].alert.id, w.told[2].alert.id);
  EXPECT_EQ(w.told[2].seq, 3u);
}

TEST(Alerts, OfSeveralSubjectsAreSeveralAndAPatternChooses) {
  AlertWorld w;
  w.put("disk", kDiskRule);
  w.put("mnt", R"({"metric":"host_disk_used_ratio","above":0.9,"subject":"/mnt/*"})");
  w.tick({disk("/", 0.95), disk("/mnt/a", 0.96), disk("/home", 0.1)});
  EXPECT_THAT(w.heard(), testing::UnorderedElementsAre("firing disk /", "firing disk /mnt/a", "firing mnt /mnt/a"));
}

TEST(Alerts, CountTheFirstOfTwoValuesOfOneTick) {
  AlertWorld w;
  w.put("disk", kDiskRule);
  w.tick({disk("/", 0.95), disk("/", 0.1)});
  w.tick({disk("/", 0.95), disk("/", 0.1)});
  EXPECT_THAT(w.heard(), ElementsAre("firing disk /"));
}

TEST(Alerts, TakeAValueThatIsNotFiniteForNone) {
  AlertWorld w;
  w.put("disk", kDiskRule);
  w.tick({disk("/", std::nan("")), disk("/x", HUGE_VAL)});
  EXPECT_THAT(w.live(), IsEmpty());
  w.tick({disk("/", 0.95)});
  w.tick({disk("/", std::nan(""))});
  w.tick({disk("/", -HUGE_VAL)});
  w.tick({disk("/", 0.95)});
  EXPECT_THAT(w.heard(), ElementsAre("firing disk /"));
}

TEST(Alerts, ResolveAsGoneAfterThreeTicksWithoutTheirSubject) {
  AlertWorld w;
  w.put("disk", kDiskRule);
  w.tick({disk("/", 0.1), disk("/mnt", 0.95)});
  w.tick({disk("/", 0.1)});
  w.tick({disk("/", 0.1)});
  EXPECT_THAT(w.heard(), ElementsAre("firing disk /mnt"));
  w.tick({disk("/", 0.1)});
  ASSERT_EQ(w.told.size(), 1u);
  EXPECT_EQ(w.told[0].alert.cause, "gone");
  EXPECT_EQ(w.told[0].alert.value, 0.95);
}

TEST(Alerts, ThatArePendingAreForgottenWhenTheirSubjectEnds) {
  AlertWorld w;
  w.put("cpu", kCpuRule);
  w.tick({cpu(0.9)});
  w.tick({});
  w.tick({});
  EXPECT_THAT(w.live(), ElementsAre("pending cpu "));  // and does not fire without a value
  w.tick({});
  EXPECT_THAT(w.live(), IsEmpty());
  EXPECT_THAT(w.heard(), IsEmpty());
}

TEST(Alerts, OfWhatAServiceSaysAreHeldFiveMinutesWhileItIsSilent) {
  AlertWorld w;
  w.put("lag", R"({"metric":"recording_segment_lag_seconds","above":2,"clear":1})");
  w.tick({{"recording_segment_lag_seconds", "", 9}});
  for (int i = 0; i < 60; ++i) w.tick({});
  EXPECT_THAT(w.heard(), ElementsAre("firing lag "));
  w.tick({{"recording_segment_lag_seconds", "", 9}});  // it answers again: nothing new
  EXPECT_THAT(w.heard(), IsEmpty());
  for (int i = 0; i < 60; ++i) w.tick({});
  EXPECT_THAT(w.heard(), IsEmpty());
  w.tick({});
  ASSERT_EQ(w.told.size(), 1u);
  EXPECT_EQ(w.told[0].alert.cause, "gone");
}

TEST(Alerts, OfACertificateAmongOthersAreNotHeld) {
  AlertWorld w;
  w.put("cert", R"({"metric":"certificate_expires_seconds","below":1000})");
  auto valid = [](const char* subject, double s) { return Reading{"certificate_expires_seconds", subject, s}; };
  w.tick({valid("rdp", 10), valid("door", 9'999)});
  for (int i = 0; i < 3; ++i) w.tick({valid("door", 9'999)});
  EXPECT_THAT(w.heard(), ElementsAre("firing cert rdp", "resolved cert rdp"));
}

TEST(Alerts, SilencedAreToldWhenTheSilenceEndsWhileTheyStillFire) {
  AlertWorld w;
  w.put("disk", kDiskRule);
  w.alerts->silence({{}, "dis*", "/m*", w.clock.wall_ms() + 60'000, "moving"});
  w.tick({disk("/mnt", 0.95), disk("/", 0.96)});
  EXPECT_THAT(w.heard(), ElementsAre("firing disk /"));
  auto live = w.alerts->live();
  ASSERT_EQ(live.size(), 2u);
  EXPECT_EQ(live[0].silenced, live[0].subject == "/mnt");
  w.tick({disk("/mnt", 0.95), disk("/", 0.96)}, 54'000);
  EXPECT_THAT(w.heard(), IsEmpty());
  w.tick({disk("/mnt", 0.97), disk("/", 0.96)});
  ASSERT_EQ(w.told.size(), 1u);
  EXPECT_EQ(w.told[0].alert.summary, "/mnt is 97 % full");
  EXPECT_THAT(w.heard(), ElementsAre("firing disk /mnt"));
  EXPECT_THAT(w.alerts->silences(), IsEmpty());
  EXPECT_EQ(w.kept.count("alert_silences", "", ""), 0u);
  w.tick({disk("/mnt", 0.1), disk("/", 0.96)});
  EXPECT_THAT(w.heard(), ElementsAre("resolved disk /mnt"));
}

TEST(Alerts, SilencedThroughTheirWholeLifeAreNeverTold) {
  AlertWorld w;
  w.put("disk", kDiskRule);
  Silence all = w.alerts->silence({{}, "", "", w.clock.wall_ms() + 60'000, ""});
  w.tick({disk("/", 0.95)});
  w.tick({disk("/", 0.1)});
  w.alerts->end_silence(all.id);
  w.tick({disk("/", 0.1)});
  EXPECT_THAT(w.heard(), IsEmpty());
  EXPECT_THROW(w.alerts->end_silence(all.id), Error);
}

TEST(Alerts, ThatResolveInTheTickTheirSilenceIsOverAreNeverTold) {
  for (bool gone : {false, true}) {
    AlertWorld w;
    w.put("disk", kDiskRule);
    Silence all = w.alerts->silence({{}, "", "", w.clock.wall_ms() + 60'000, ""});
    w.tick({disk("/", 0.95)});
    if (gone) {
      w.tick({disk("/b", 0.1)});
      w.tick({disk("/b", 0.1)});
    }
    w.alerts->end_silence(all.id);
    w.tick({disk(gone ? "/b" : "/", 0.1)});
    EXPECT_THAT(w.heard(), IsEmpty());
    EXPECT_THAT(w.live(), IsEmpty());
    EXPECT_EQ(w.kept.count("alert_states", "", ""), 0u);
  }
}

TEST(Alerts, ToldBeforeASilenceHaveTheirResolutionToldInIt) {
  AlertWorld w;
  w.put("disk", kDiskRule);
  w.tick({disk("/", 0.95)});
  w.alerts->silence({{}, "disk", "/", w.clock.wall_ms() + 60'000, ""});
  w.tick({disk("/", 0.1)});
  EXPECT_THAT(w.heard(), ElementsAre("firing disk /", "resolved disk /"));
}

TEST(Alerts, SilencedStayUntoldOverARestart) {
  AlertWorld w;
  w.put("disk", kDiskRule);
  Silence s = w.alerts->silence({{}, "disk", "", w.clock.wall_ms() + 60'000, ""});
  w.tick({disk("/", 0.95)});
  w.start();
  w.tick({disk("/", 0.95)});
  EXPECT_THAT(w.heard(), IsEmpty());
  w.alerts->end_silence(s.id);
  w.start();
  w.tick({disk("/", 0.95)});
  EXPECT_THAT(w.heard(), ElementsAre("firing disk /"));
}

TEST(Alerts, ResolveWhenTheirRuleChangesIsDisabledOrRemoved) {
  for (const char* how : {"changed", "disabled", "removed"})
    for (bool restart : {false, true}) {
      SCOPED_TRACE(how);
      AlertWorld w;
      Rule r = w.put("disk", kDiskRule);
      w.tick({disk("/", 0.95)});
      w.heard();
      if (how == std::string("changed")) r.threshold = 0.97, w.alerts->put_rule(r);
      if (how == std::string("disabled")) r.enabled = false, w.alerts->put_rule(r);
      if (how == std::string("removed")) w.alerts->remove_rule("disk");
      EXPECT_THAT(w.live(), ElementsAre("firing disk /"));
      if (restart) w.start();
      w.tick({disk("/", 0.95)});
      ASSERT_EQ(w.told.size(), 1u);
      EXPECT_EQ(w.told[0].alert.cause, "rule_changed");
      EXPECT_THAT(w.heard(), ElementsAre("resolved disk /"));
      w.tick({disk("/", 0.95)});
      EXPECT_THAT(w.heard(), IsEmpty());
      EXPECT_THAT(w.live(), IsEmpty());
    }
}

TEST(Alerts, FireAnewByAChangedRuleButNotByAnotherSummary) {
  AlertWorld w;
  Rule r = w.put("disk", kDiskRule);
  w.tick({disk("/", 0.95)});
  r.summary = "another {value}";
  w.alerts->put_rule(r);
  w.tick({disk("/", 0.95)});
  EXPECT_THAT(w.heard(), ElementsAre("firing disk /"));
  EXPECT_EQ(w.alerts->live()[0].summary, "another 95 %");
  r.severity = Severity::critical;
  w.alerts->put_rule(r);
  w.tick({disk("/", 0.95)});
  EXPECT_THAT(w.heard(), ElementsAre("resolved disk /", "firing disk /"));
}

TEST(Alerts, GoOnFiringOverARestartAndBeginPendingAnew) {
  AlertWorld w;
  w.put("cpu", kCpuRule);
  w.put("disk", kDiskRule);
  w.tick({cpu(0.9), disk("/", 0.95)});
  w.tick({cpu(0.9), disk("/", 0.95)});
  auto before = w.alerts->live();
  w.start();
  EXPECT_THAT(w.live(), ElementsAre("firing disk /"));
  w.tick({cpu(0.9), disk("/", 0.95)});
  w.tick({cpu(0.9), disk("/", 0.95)});
  EXPECT_THAT(w.heard(), ElementsAre("firing disk /"));
  w.tick({cpu(0.9), disk("/", 0.95)});
  EXPECT_THAT(w.heard(), ElementsAre("firing cpu "));
}

TEST(Alerts, ThatEndedWhileTheMonitorWasDownAreResolvedOnce) {
  AlertWorld w;
  w.put("disk", kDiskRule);
  w.tick({disk("/", 0.95)});
  w.start();
  w.tick({disk("/", 0.2)});
  w.tick({disk("/", 0.2)});
  w.start();
  w.tick({disk("/", 0.2)});
  EXPECT_THAT(w.heard(), ElementsAre("firing disk /", "resolved disk /"));
}

// A clock whose two hands are moved apart.
class JumpingClock final : public Clock {
 public:
  std::int64_t wall = 1'700'000'000'000, steady = 50'000;
  std::int64_t wall_ms() const override { return wall; }
  std::int64_t steady_ms() const override { return steady; }
};

TEST(Alerts, FireNothingEarlierWhenTheWallClockJumps) {
  store::MemoryDocuments documents;
  JumpingClock clock;
  SeededRandom random(1);
  int told = 0;
  Alerts alerts(documents, clock, random, [&](const AlertEvent&) { ++told; });
  json::value body = json::parse(kCpuRule);
  alerts.put_rule(read_rule("cpu", body));
  std::vector<Reading> busy{cpu(0.95)};
  alerts.judge(busy);
  clock.wall += 86'400'000;
  alerts.judge(busy);
  clock.wall -= 2 * 86'400'000LL;
  clock.steady += 9'999;
  alerts.judge(busy);
  EXPECT_EQ(told, 0);
  clock.steady += 1;
  alerts.judge(busy);
  EXPECT_EQ(told, 1);
}

TEST(Alerts, WriteNothingInATickWithoutAChange) {
  AlertWorld w;
  w.put("cpu", kCpuRule);
  w.put("disk", kDiskRule);
  w.tick({cpu(0.9), disk("/", 0.95)});
  w.tick({cpu(0.1), disk("/", 0.95)});
  int before = w.documents.changes();
  for (int i = 0; i < 100; ++i) w.tick({cpu(i % 3 == 0 ? 0.9 : 0.5), disk("/", 0.9 + i * 0.0005)});
  EXPECT_EQ(w.documents.changes(), before);
}

TEST(Alerts, HaveSubjectsThatAreUtf8WhateverWasRead) {
  AlertWorld w;
  w.put("disk", kDiskRule);
  w.tick({disk("/m\xff", 0.95), disk("/ä", 0.95)});
  w.start();
  w.tick({disk("/m\xff", 0.95), disk("/ä", 0.95)});
  EXPECT_EQ(w.told.size(), 2u);
  EXPECT_THAT(w.live(), testing::Contains("firing disk /ä"));
}

TEST(Alerts, ThatWereNotTakenAreToldAgainInOrder) {
  AlertWorld w;
  w.put("disk", kDiskRule);
  bool refuse = true;
  w.on_tell = [&](const AlertEvent& e) {
    if (refuse && e.seq == 2) throw Error(ErrorKind::unavailable, "not now");
  };
  w.tick({disk("/", 0.95)});
  EXPECT_THROW(w.tick({disk("/", 0.1)}), Error);
  EXPECT_THROW(w.tick({disk("/", 0.95)}), Error);
  EXPECT_EQ(w.told.size(), 1u);
  refuse = false;
  w.tick({disk("/", 0.95)});
  EXPECT_THAT(w.heard(), ElementsAre("firing disk /", "resolved disk /", "firing disk /"));
}

TEST(Alerts, MayBeAskedAndChangedByWhomTheyAreToldTo) {
  AlertWorld w;
  w.put("disk", kDiskRule);
  w.on_tell = [&](const AlertEvent& e) {
    EXPECT_EQ(w.alerts->after(e.seq - 1, 1).size(), 1u);
    EXPECT_EQ(w.alerts->live().size(), 1u);
    w.alerts->silence({{}, "disk", "", w.clock.wall_ms() + 1'000, ""});
    w.put("other", kCpuRule);
  };
  w.tick({disk("/", 0.95)});
  EXPECT_EQ(w.alerts->silences().size(), 1u);
}

TEST(Alerts, TheBuiltInRulesFireAndResolveOnWhatTheyAreFor) {
  AlertWorld w(false);
  std::vector<Reading> bad, good;
  for (const Rule& r : default_rules()) {
    const Metric* metric = find_metric(r.metric);
    std::string subject = metric->subject == Subject::none ? "" : "it";
    double past = r.above ? r.threshold * 1.02 + 0.01 : r.threshold * 0.5;
    bool worse_there = false;
    for (Reading& b : bad)
      if (b.metric == metric->name) {
        worse_there = true;
        b.value = r.above ? std::max(b.value, past) : std::min(b.value, past);
      }
    if (worse_there) continue;
    bad.push_back({metric->name, subject, past});
    good.push_back({metric->name, subject, r.above ? 0.0 : 1e9});
  }
  for (int i = 0; i <= 60; ++i) w.tick(bad);
  EXPECT_EQ(w.told.size(), default_rules().size());
  w.tick(good);
  EXPECT_EQ(w.told.size(), 2 * default_rules().size());
  EXPECT_THAT(w.live(), IsEmpty());
}

}  // namespace
