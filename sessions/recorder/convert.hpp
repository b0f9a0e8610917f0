// What happened on a desktop, in the words of the recording: pure functions from lib/desktop's events and the plan's
// options to records and settings of the libraries below. Any thread.
#pragma once

#include <optional>

#include "lib/contracts/recording_options.hpp"
#include "lib/desktop/display.hpp"
#include "lib/recording/frame_encoder.hpp"
#include "lib/recording/records.hpp"

namespace lucid::recorder {

// nullopt for Lost, which is not a record. `started_steady_ms`: Clock::steady_ms() of session millisecond 0; an event
// from before it counts as happening at 0.
std::optional<recording::Record> to_record(const desktop::DesktopEvent& event, std::int64_t started_steady_ms);

desktop::DisplayTarget to_desktop(const contracts::DisplayTarget& target);
desktop::DisplayOptions to_desktop(const contracts::RecordingOptions& options);
recording::EncoderConfig to_encoder(const contracts::RecordingOptions& options);

}  // namespace lucid::recorder
