#include "rdp/monitor/readings/processes.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/base/file_ops.hpp"
#include "rdp/monitor/readings/text.hpp"

namespace lucid::monitor {
namespace {

constexpr std::uint32_t kNoSession = std::numeric_limits<std::uint32_t>::max();
constexpr std::size_t kMaxProcesses = 65'536;

// What the kernel has counted of a process. What a child used moves to the parent that waits for it: its time to the time of children, its I/O
// to the parent's own. So nothing is lost with a process that ends, and what was counted while it lived must not be counted again.
struct Use {
  std::uint64_t ticks = 0, child_ticks = 0, read_bytes = 0, written_bytes = 0;
};

struct Entry {
  std::uint32_t pid = 0, parent = 0;
  std::uint64_t start = 0;
  Use use;
  bool io_known = false;
  std::uint64_t resident_pages = 0;
  std::uint32_t session = kNoSession;  // index into State::sessions
  bool decided = false;                // whether `session` is final in this look
};

struct Known {
  std::string name;
  std::vector<std::pair<std::uint32_t, std::uint64_t>> roots;  // pid and start of those found at the last look
  bool wanted = false, fresh = true;
};

// "1234 (name) S ppid …"; the name may itself hold spaces, parentheses and newlines.
bool parse_stat(std::string_view text, Entry& entry) {
  std::size_t close = text.rfind(')');
  if (close == std::string_view::npos || text.find('(') >= close) return false;
  std::string_view rest = text.substr(close + 1);
  if (std::size_t end = rest.find('\n'); end != std::string_view::npos) rest = rest.substr(0, end);
  next_word(rest);  // state
  auto parent = next_number<std::uint32_t>(rest);
  if (!parent) return false;
  entry.parent = *parent;
  for (int i = 5; i <= 13; ++i)
    if (next_word(rest).empty()) return false;
  for (int i = 14; i <= 17; ++i) {  // utime stime cutime cstime
    auto ticks = next_number<std::int64_t>(rest);
    if (!ticks) return false;
    (i <= 15 ? entry.use.ticks : entry.use.child_ticks) += static_cast<std::uint64_t>(std::max<std::int64_t>(0, *ticks));
  }
  for (int i = 18; i <= 21; ++i)
    if (next_word(rest).empty()) return false;
  auto start = next_number<std::uint64_t>(rest);
  std::string_view size = next_word(rest);
  auto pages = next_number<std::int64_t>(rest);
  if (!start || size.empty() || !pages) return false;
  entry.start = *start;
  entry.resident_pages = static_cast<std::uint64_t>(std::max<std::int64_t>(0, *pages));
  return true;
}

}  // namespace

struct ProcessReader::State {
  std::string place;
  const Clock& clock;
  TextReader files;
  std::vector<Entry> now, before;  // by pid
  std::vector<Known> sessions;
  std::vector<Use> credits;  // beside `now`: what has been counted already of what came to a process from ended ones
  std::vector<std::size_t> path;
  std::optional<std::int64_t> looked_ms;
  double ticks_per_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
  std::uint64_t page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));

  State(std::string p, const Clock& c) : place(std::move(p)), clock(c) {}

  static Entry* find(std::vector<Entry>& entries, std::uint32_t pid) {
    auto at = std::ranges::lower_bound(entries, pid, {}, &Entry::pid);
    return at != entries.end() && at->pid == pid ? &*at : nullptr;
  }
  Entry* same_before(const Entry& e) {
    Entry* b = find(before, e.pid);
    return b != nullptr && b->start == e.start ? b : nullptr;
  }
  void read_all(int directory, DIR* listing);
  void read_io(int directory, Entry& entry);
  void match_sessions(const std::vector<SessionRoots>& roots);
  void assign(std::size_t index);
  void credit_ended();
};

void ProcessReader::State::read_all(int directory, DIR* listing) {
  char path_of[32];
  while (const dirent* item = ::readdir(listing)) {
    auto pid = to_number<std::uint32_t>(item->d_name);
    if (!pid || *pid == 0 || now.size() == kMaxProcesses) continue;
    Entry entry;
    entry.pid = *pid;
    *std::to_chars(path_of, path_of + 16, *pid).ptr = '\0';
    std::strcat(path_of, "/stat");
    auto text = files.read(directory, path_of, 4096);
    if (text && parse_stat(*text, entry)) {
      now.push_back(entry);
    } else if (text || (files.error() != ENOENT && files.error() != ESRCH)) {
      // There but not readable this once: as it was. One that is gone is left out.
      if (const Entry* b = find(before, *pid)) {
        now.push_back(*b);
        now.back().decided = false;
      }
    }
  }
  // The kernel lists them in order.
  if (!std::ranges::is_sorted(now, {}, &Entry::pid)) std::ranges::sort(now, {}, &Entry::pid);
}

void ProcessReader::State::read_io(int directory, Entry& entry) {
  char path_of[32];
  *std::to_chars(path_of, path_of + 16, entry.pid).ptr = '\0';
  std::strcat(path_of, "/io");
  auto text = files.read(directory, path_of, 4096);
  if (!text) return;
  auto read = number_of(*text, "read_bytes:"), written = number_of(*text, "write_bytes:");
  if (!read || !written) return;
  entry.use.read_bytes = *read;
  entry.use.written_bytes = *written;
  entry.io_known = true;
}

// A session keeps its place in `sessions` from look to look. One under a new name with the roots of one that is gone is the same
// (a server of the warm pool that was taken).
void ProcessReader::State::match_sessions(const std::vector<SessionRoots>& roots) {
  for (Known& known : sessions) known.wanted = false;
  auto named = [&](const std::string& name) { return std::ranges::find(sessions, name, &Known::name); };
  for (const SessionRoots& r : roots)
    if (auto known = named(r.session); known != sessions.end()) known->wanted = true;
  for (const SessionRoots& r : roots) {
    if (r.session.empty() || named(r.session) != sessions.end()) continue;
    auto lives_on = [&](const Known& known) {
      return !known.wanted && std::ranges::any_of(known.roots, [&](const auto& root) {
        const Entry* e = find(now, root.first);
        return e != nullptr && e->start == root.second && std::ranges::find(r.pids, root.first) != r.pids.end();
      });
    };
    auto known = std::ranges::find_if(sessions, lives_on);
    if (known == sessions.end()) {
      known = std::ranges::find_if(sessions, [](const Known& k) { return !k.wanted && k.name.empty(); });
      if (known == sessions.end()) known = sessions.insert(sessions.end(), Known{});
      *known = Known{};
    }
    known->name = r.session;
    known->wanted = true;
  }
  for (Known& known : sessions) {
    known.roots.clear();
    // Nobody may be remembered as of a session whose place another takes.
    if (!known.wanted && !known.name.empty()) {
      auto index = static_cast<std::uint32_t>(&known - sessions.data());
      for (Entry& e : before)
        if (e.session == index) e.session = kNoSession;
      known = Known{};
    }
  }
  for (const SessionRoots& r : roots) {
    auto known = named(r.session);
    if (r.session.empty() || known == sessions.end()) continue;
    for (std::uint32_t pid : r.pids)
      if (Entry* e = find(now, pid); e != nullptr && pid != 0) {
        known->roots.emplace_back(pid, e->start);
        e->session = static_cast<std::uint32_t>(known - sessions.begin());
        e->decided = true;
      }
  }
}

// The session it was seen in, else its parent's, whose is found first.
void ProcessReader::State::assign(std::size_t index) {
  path.clear();
  std::uint32_t session = kNoSession;
  for (Entry* e = &now[index]; e != nullptr;) {
    if (e->decided) {
      session = e->session;
      break;
    }
    e->decided = true;  // also ends a circle of parents, which only a file of nonsense has
    path.push_back(static_cast<std::size_t>(e - now.data()));
    if (const Entry* b = same_before(*e); b != nullptr && b->session != kNoSession) {
      session = b->session;
      break;
    }
    e = find(now, e->parent);
  }
  for (std::size_t at : path) now[at].session = session;
}

// What was counted of a process that has ended since is in its parent's numbers now, if that waited for it: it must not count twice.
void ProcessReader::State::credit_ended() {
  credits.assign(now.size(), {});
  for (const Entry& b : before) {
    const Entry* e = find(now, b.pid);
    if (e != nullptr && e->start == b.start) continue;
    std::uint32_t parent = b.parent;
    for (int depth = 0; depth < 64; ++depth) {
      const Entry* parent_before = find(before, parent);
      if (parent_before == nullptr) break;
      if (Entry* lives = find(now, parent); lives != nullptr && lives->start == parent_before->start) {
        Use& credit = credits[static_cast<std::size_t>(lives - now.data())];
        credit.child_ticks += b.use.ticks + b.use.child_ticks;
        credit.read_bytes += b.use.read_bytes;
        credit.written_bytes += b.use.written_bytes;
        break;
      }
      parent = parent_before->parent;
    }
  }
}

ProcessReader::ProcessReader(std::string proc, const Clock& clock) : state_(std::make_unique<State>(std::move(proc), clock)) {}
ProcessReader::~ProcessReader() = default;

ProcessReader::Look ProcessReader::look(const std::vector<SessionRoots>& roots) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  State& s = *state_;
  Look look;
  look.sessions.reserve(roots.size());
  for (const SessionRoots& r : roots) look.sessions.push_back({r.session, kNaN, kNaN, kNaN, 0, 0});
  std::unique_ptr<DIR, int (*)(DIR*)> listing(::opendir(s.place.c_str()), ::closedir);
  if (!listing) return look;
  int directory = ::dirfd(listing.get());
  std::swap(s.now, s.before);
  s.now.clear();
  std::int64_t now_ms = s.clock.steady_ms(), elapsed_ms = s.looked_ms ? now_ms - *s.looked_ms : 0;
  s.looked_ms = now_ms;
  s.read_all(directory, listing.get());
  s.match_sessions(roots);
  for (std::size_t i = 0; i < s.now.size(); ++i)
    if (!s.now[i].decided) s.assign(i);
  for (Entry& e : s.now)
    if (e.session != kNoSession) s.read_io(directory, e);
  s.credit_ended();

  struct Sum {
    std::uint64_t pages = 0, processes = 0, io_seen = 0;
    Use delta;
  };
  std::vector<Sum> sums(s.sessions.size());
  for (std::size_t i = 0; i < s.now.size(); ++i) {
    Entry& e = s.now[i];
    if (e.session == kNoSession) continue;
    Sum& sum = sums[e.session];
    ++sum.processes;
    sum.pages += e.resident_pages;
    const Entry* b = s.same_before(e);
    Use counted = b != nullptr ? b->use : Use{};
    counted.child_ticks += s.credits[i].child_ticks;
    counted.read_bytes += s.credits[i].read_bytes;
    counted.written_bytes += s.credits[i].written_bytes;
    auto grown = [](std::uint64_t now, std::uint64_t from) { return now > from ? now - from : 0; };
    sum.delta.ticks += grown(e.use.ticks, counted.ticks) + grown(e.use.child_ticks, counted.child_ticks);
    // Its I/O until now was not of this look's time where it was not read before.
    if (e.io_known) ++sum.io_seen;
    if (e.io_known && (b == nullptr || b->io_known)) {
      sum.delta.read_bytes += grown(e.use.read_bytes, counted.read_bytes);
      sum.delta.written_bytes += grown(e.use.written_bytes, counted.written_bytes);
    }
  }
  look.processes = s.now.size();
  for (SessionUse& use : look.sessions) {
    auto known = std::ranges::find(s.sessions, use.session, &Known::name);
    if (use.session.empty() || known == s.sessions.end()) continue;
    const Sum& sum = sums[static_cast<std::size_t>(known - s.sessions.begin())];
    use.memory_bytes = sum.pages * s.page;
    use.processes = sum.processes;
    if (known->fresh || elapsed_ms <= 0) continue;
    double seconds = static_cast<double>(elapsed_ms) / 1000;
    use.cpu_ratio = static_cast<double>(sum.delta.ticks) / s.ticks_per_second / seconds;
    if (sum.io_seen == 0 && sum.processes > 0) continue;  // none of them lets itself be read
    use.read_bytes_per_second = static_cast<double>(sum.delta.read_bytes) / seconds;
    use.write_bytes_per_second = static_cast<double>(sum.delta.written_bytes) / seconds;
  }
  for (Known& known : s.sessions) known.fresh = false;
  return look;
}

}  // namespace lucid::monitor
