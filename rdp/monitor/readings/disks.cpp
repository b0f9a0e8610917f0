#include "rdp/monitor/readings/disks.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <set>

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include "lib/base/bytes.hpp"

namespace lucid::monitor {
namespace {

constexpr std::size_t kMaxMounts = 64, kMaxDevices = 1024;
constexpr double kSector = 512;  // of diskstats, whatever the device's is

// Sorted. Local, writable, with a size of their own.
constexpr auto kLocalTypes =
    std::to_array<std::string_view>({"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfsplus", "jfs", "msdos", "nilfs2",
                                     "ntfs", "ntfs3", "reiserfs", "ubifs", "vfat", "xfs", "zfs"});
static_assert(std::ranges::is_sorted(kLocalTypes));
// What lies below one of these is reached through it, and may hang as it does.
constexpr auto kMayHang = std::to_array<std::string_view>(
    {"nfs", "cifs", "smb", "fuse", "9p", "ceph", "afs", "glusterfs", "lustre", "ocfs2", "gfs2", "autofs", "davfs", "beegfs", "virtiofs"});

// "\040" and its like, as the kernel writes spaces, tabs, newlines and backslashes of paths.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto octal = [&](std::size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

bool below(std::string_view path, std::string_view place) {
  return place == "/" || (path.starts_with(place) && (path.size() == place.size() || path[place.size()] == '/'));
}

std::uint64_t device_key(std::uint64_t major, std::uint64_t minor) { return major << 32 | minor; }

}  // namespace

std::vector<Mount> local_mounts(std::string_view mounts) {
  std::map<std::string, std::string> devices;  // by place; what was mounted there last hides the others
  std::set<std::string> may_hang;
  for (std::string_view line; next_line(mounts, line);) {
    std::string_view device = next_word(line), escaped = next_word(line), type = next_word(line);
    std::string place = unescaped(escaped);
    if (type.empty() || !place.starts_with('/')) continue;
    devices.erase(place);
    may_hang.erase(place);
    if (std::ranges::any_of(kMayHang, [&](std::string_view t) { return type.starts_with(t); }))
      may_hang.insert(place);
    else if (std::ranges::binary_search(kLocalTypes, type) || (type == "overlay" && place == "/"))
      devices[place] = unescaped(device);
  }
  std::vector<Mount> found;
  for (const auto& [place, device] : devices) {
    if (std::ranges::any_of(may_hang, [&](const std::string& p) { return below(place, p); })) continue;
    auto same = std::ranges::find(found, device, &Mount::device);
    if (same == found.end())
      found.push_back({place, device});
    else if (place.size() < same->place.size())
      same->place = place;
  }
  std::ranges::sort(found, {}, &Mount::place);
  if (found.size() > kMaxMounts) found.resize(kMaxMounts);
  return found;
}

void DiskReader::read_counters(TextReader& files, std::vector<std::string>& problems) {
  std::swap(now_, before_);
  now_.clear();
  std::string path = proc_ + "/diskstats";
  auto text = files.read(path);
  if (!text) {
    problems.push_back(path + ": " + std::strerror(files.error()));
    return;
  }
  std::size_t wrong = 0;
  for (std::string_view line, rest = *text; next_line(rest, line) && now_.size() < kMaxDevices;) {
    auto major = next_number<std::uint32_t>(line), minor = next_number<std::uint32_t>(line);
    std::string_view name = next_word(line);
    std::array<std::uint64_t, 10> field{};  // reads merged sectors ms, writes merged sectors ms, in flight, busy ms
    bool good = major && minor && !name.empty();
    for (std::uint64_t& f : field)
      if (auto n = next_number<std::uint64_t>(line); good && n)
        f = *n;
      else
        good = false;
    if (!good) {
      ++wrong;
      continue;
    }
    std::uint64_t key = device_key(*major, *minor);
    now_[key] = {field[0] + field[4], field[2], field[6], field[3] + field[7], field[9]};
    if (auto known = names_.find(name); known == names_.end() || known->second != key) {
      if (names_.size() >= kMaxDevices) names_.clear();
      names_.insert_or_assign(std::string(name), key);
    }
  }
  if (wrong > 0) problems.push_back(path + ": " + std::to_string(wrong) + " lines are not as expected");
}

void DiskReader::add_rates(Disk& disk, std::uint64_t device, std::int64_t elapsed_ms) {
  auto now = now_.find(device), before = before_.find(device);
  if (elapsed_ms <= 0 || now == now_.end() || before == before_.end()) return;
  const Counters &n = now->second, &b = before->second;
  // Counters that went back: the device is another one now, or they have wrapped.
  if (n.ios < b.ios || n.read_sectors < b.read_sectors || n.written_sectors < b.written_sectors || n.io_ms < b.io_ms ||
      n.busy_ms < b.busy_ms)
    return;
  auto elapsed = static_cast<double>(elapsed_ms);
  disk.read_bytes_per_second = static_cast<double>(n.read_sectors - b.read_sectors) * kSector * 1000 / elapsed;
  disk.write_bytes_per_second = static_cast<double>(n.written_sectors - b.written_sectors) * kSector * 1000 / elapsed;
  disk.busy_ratio = std::min(1.0, static_cast<double>(n.busy_ms - b.busy_ms) / elapsed);
  disk.latency_seconds = n.ios == b.ios ? 0 : static_cast<double>(n.io_ms - b.io_ms) / 1000 / static_cast<double>(n.ios - b.ios);
}

std::vector<Disk> DiskReader::look(TextReader& files, std::int64_t elapsed_ms, std::vector<std::string>& problems) {
  read_counters(files, problems);
  auto text = files.read(proc_ + "/1/mounts", 4 << 20);
  if (!text) text = files.read(proc_ + "/self/mounts", 4 << 20);
  if (!text) {
    problems.push_back(proc_ + "/self/mounts: " + std::strerror(files.error()));
    return {};
  }
  if (*text != mounts_text_) {
    mounts_text_ = *text;
    mounts_ = local_mounts(mounts_text_);
  }
  std::vector<Disk> disks;
  for (const Mount& mount : mounts_) {
    Disk disk;
    disk.mount = to_utf8(mount.place, 512);
    disk.device = to_utf8(mount.device, 256);
    std::string path = root_ + mount.place;
    struct statvfs space{};
    struct stat place{};
    if (::statvfs(path.c_str(), &space) != 0 || ::stat(path.c_str(), &place) != 0) {
      problems.push_back(disk.mount + ": " + std::strerror(errno));
      continue;
    }
    std::uint64_t unit = space.f_frsize, used = space.f_blocks - std::min(space.f_bfree, space.f_blocks);
    disk.total_bytes = space.f_blocks * unit;
    disk.free_bytes = space.f_bavail * unit;
    if (used + space.f_bavail > 0) disk.used_ratio = static_cast<double>(used) / static_cast<double>(used + space.f_bavail);
    if (space.f_files > 0)  // btrfs and vfat have none
      disk.inodes_used_ratio =
          static_cast<double>(space.f_files - std::min(space.f_ffree, space.f_files)) / static_cast<double>(space.f_files);
    // btrfs and its like have a device number of their own: then by the name of what is mounted.
    std::uint64_t device = device_key(major(place.st_dev), minor(place.st_dev));
    if (!now_.contains(device))
      if (auto named = names_.find(std::string_view(mount.device).substr(mount.device.rfind('/') + 1)); named != names_.end())
        device = named->second;
    add_rates(disk, device, elapsed_ms);
    disks.push_back(std::move(disk));
  }
  return disks;
}

}  // namespace lucid::monitor
