#include "sessions/pipeline/state_machine.hpp"

#include <gtest/gtest.h>

using namespace lucid::pipeline;

namespace {
constexpr State kAll[] = {State::created,  State::starting, State::active,  State::pausing,   State::paused,
                          State::stopping, State::stopped,  State::cleanup, State::destroyed, State::error};
constexpr Trigger kTriggers[] = {Trigger::start, Trigger::first_frame, Trigger::pause,   Trigger::paused,  Trigger::resume,   Trigger::stop,
                                 Trigger::ended, Trigger::fail,        Trigger::recover, Trigger::cleanup, Trigger::destroyed};
}  // namespace

TEST(StateMachine, FollowsTheWholeLifeOfARecording) {
  State s = State::created;
  for (auto [trigger, to] : {std::pair{Trigger::start, State::starting},
                             {Trigger::first_frame, State::active},
                             {Trigger::pause, State::pausing},
                             {Trigger::paused, State::paused},
                             {Trigger::resume, State::active},
                             {Trigger::stop, State::stopping},
                             {Trigger::ended, State::stopped},
                             {Trigger::cleanup, State::cleanup},
                             {Trigger::destroyed, State::destroyed}}) {
    ASSERT_EQ(next(s, trigger), to);
    s = to;
  }
}

TEST(StateMachine, DestroyedIsTheEndAndOnlyErrorsRecover) {
  for (Trigger t : kTriggers) EXPECT_FALSE(next(State::destroyed, t));
  for (State s : kAll) EXPECT_EQ(next(s, Trigger::recover).has_value(), s == State::error);
}

TEST(StateMachine, EveryLiveStateCanFailAndEveryLiveStateCanEnd) {
  for (State s : kAll) {
    if (is_live(s)) {
      EXPECT_EQ(next(s, Trigger::fail), State::error);
      EXPECT_EQ(next(s, Trigger::ended), State::stopped);
    }
  }
}
