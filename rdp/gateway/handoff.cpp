#include "rdp/gateway/handoff.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/contracts/fields.hpp"

namespace lucid::gateway {
namespace {

constexpr std::size_t kMaxMessage = 64 << 10, kMaxFiles = 6;
constexpr timeval kPatience{.tv_sec = 5, .tv_usec = 0};

ucred credentials(const File& socket) {
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(socket.fd(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) throw system_error("ask who is there", "handoff.sock", errno);
  return who;
}

// sun_path holds 107 bytes; through its directory's descriptor any path fits.
struct ShortPath {
  explicit ShortPath(const std::string& path) : directory(::open(parent(path).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
    if (!directory) throw system_error("open directory of", path, errno);
    address.sun_family = AF_UNIX;
    std::string text = "/proc/self/fd/" + std::to_string(directory.fd()) + "/" + path.substr(path.rfind('/') + 1);
    if (text.size() >= sizeof address.sun_path) throw Error(ErrorKind::invalid, "the name of a socket is too long: " + path);
    std::memcpy(address.sun_path, text.c_str(), text.size() + 1);
  }
  static std::string parent(const std::string& path) { return path.substr(0, path.rfind('/')); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
  File directory;
  sockaddr_un address{};
};

File new_socket() {
  File socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) throw system_error("make", "the hand-over socket", errno);
  return socket;
}

json::object flow_json(const HandedFlow& flow) {
  return {{"bytes", flow.bytes}, {"waiting", flow.waiting}, {"source_ended", flow.source_ended}, {"finished", flow.finished}};
}

HandedFlow read_flow(contracts::Fields in) {
  HandedFlow out;
  out.bytes = in.number<std::uint64_t>("bytes");
  out.waiting = in.number<std::uint64_t>("waiting");
  out.source_ended = in.boolean("source_ended");
  out.finished = in.boolean("finished");
  if (!in.ok()) throw in.error("handed direction");
  return out;
}

void send_link(const File& socket, const HandedLink& link) {
  std::vector<int> files{link.client->fd()};
  if (link.upstream) files.push_back(link.upstream->fd());
  for (const HandedFlow* flow : {&link.up, &link.down})
    if (flow->waiting > 0) files.insert(files.end(), {flow->pipe_read->fd(), flow->pipe_write->fd()});
  send_message(socket,
               {{"type", "link"},
                {"id", link.id.text()},
                {"session", link.session.text()},
                {"client_address", link.client_address},
                {"key", link.key},
                {"opened_wall_ms", link.opened_wall_ms},
                {"last_up_wall_ms", link.last_up_wall_ms},
                {"frozen", link.frozen},
                {"relays", link.upstream != nullptr},
                {"up", flow_json(link.up)},
                {"down", flow_json(link.down)},
                {"head", to_hex(link.head)}},
               files);
}

HandedLink read_link(Message& message) {
  json::value body = message.body;
  contracts::Fields in(body);
  HandedLink out;
  out.id = in.id("id");
  out.session = in.id("session");
  out.client_address = in.text("client_address");
  out.key = in.text("key");
  out.opened_wall_ms = in.number<std::int64_t>("opened_wall_ms");
  out.last_up_wall_ms = in.number<std::int64_t>("last_up_wall_ms");
  out.frozen = in.boolean("frozen");
  bool relays = in.boolean("relays");
  out.up = read_flow(contracts::Fields(in.value("up")));
  out.down = read_flow(contracts::Fields(in.value("down")));
  auto head = from_hex(in.text("head"));
  if (!head) in.refuse("head");
  if (!in.ok()) throw in.error("handed connection");
  out.head = *head;
  std::size_t expected = 1 + (relays ? 1 : 0) + (out.up.waiting > 0 ? 2 : 0) + (out.down.waiting > 0 ? 2 : 0), at = 0;
  if (message.files.size() != expected) throw Error(ErrorKind::malformed, "a handed connection came without its sockets");
  out.client = message.files[at++];
  if (relays) out.upstream = message.files[at++];
  for (HandedFlow* flow : {&out.up, &out.down})
    if (flow->waiting > 0) {
      flow->pipe_read = message.files[at++];
      flow->pipe_write = message.files[at++];
    }
  return out;
}

}  // namespace

std::shared_ptr<File> duplicate(const File& file) {
  int fd = ::fcntl(file.fd(), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) throw system_error("duplicate", "a descriptor for the hand-over", errno);
  return std::make_shared<File>(fd);
}

void send_message(const File& socket, const json::object& body, const std::vector<int>& files) {
  std::string text = json::serialize(body);
  iovec data{text.data(), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxFiles * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!files.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(files.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(files.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), files.data(), files.size() * sizeof(int));
  }
  if (::sendmsg(socket.fd(), &message, MSG_NOSIGNAL) < 0) throw system_error("hand over to", "the other gateway", errno);
}

Message receive_message(const File& socket) {
  std::string text(kMaxMessage, '\0');
  iovec data{text.data(), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxFiles * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t n = ::recvmsg(socket.fd(), &message, MSG_CMSG_CLOEXEC);
  if (n < 0) throw system_error("receive from", "the other gateway", errno);
  Message out;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      out.files.push_back(std::make_shared<File>(fd));
    }
  }
  if (n == 0) throw Error(ErrorKind::unavailable, "the other gateway ended during the hand-over");
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) throw Error(ErrorKind::malformed, "a hand-over message was cut");
  auto value = parse_json({text.data(), static_cast<std::size_t>(n)});
  if (!value || !value->is_object()) throw Error(ErrorKind::malformed, "a hand-over message is not a JSON object");
  out.body = value->get_object();
  return out;
}

void set_deadlines(const File& socket) {
  ::setsockopt(socket.fd(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  ::setsockopt(socket.fd(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
}

void check_same_user(const File& socket) {
  if (credentials(socket).uid != ::getuid()) throw Error(ErrorKind::forbidden, "another user's process is at the hand-over socket");
}

int peer_process(const File& socket) { return credentials(socket).pid; }

void send_handed(const File& socket, const Handed& handed) {
  if (handed.listener) send_message(socket, {{"type", "listener"}}, {handed.listener->fd()});
  for (const HandedLink& link : handed.links) send_link(socket, link);
  for (const auto& report : handed.reports) send_message(socket, {{"type", "report"}, {"report", contracts::to_json(report)}});
  for (const Ban& ban : handed.bans)
    send_message(socket, {{"type", "ban"}, {"address", ban.address}, {"until_wall_ms", ban.until_wall_ms}, {"failures", ban.failures}});
  send_message(socket, {{"type", "end"}, {"links", handed.links.size()}});
}

Handed receive_handed(const File& socket) {
  Handed out;
  for (;;) {
    Message message = receive_message(socket);
    json::value body = message.body;
    contracts::Fields in(body);
    std::string type = in.text("type");
    if (type == "listener" && message.files.size() == 1) {
      out.listener = message.files[0];
    } else if (type == "link") {
      out.links.push_back(read_link(message));
    } else if (type == "report") {
      out.reports.push_back(contracts::read_connection_report(in.value("report")));
    } else if (type == "ban") {
      out.bans.push_back({in.text("address"), in.number<std::int64_t>("until_wall_ms"), in.number<int>("failures")});
    } else if (type == "end" && in.number<std::uint64_t>("links") == out.links.size()) {
      return out;
    } else {
      throw Error(ErrorKind::malformed, "the other gateway sent something unknown during the hand-over");
    }
    if (!in.ok()) throw in.error("hand-over message");
  }
}

bool wait_for_end(const File& socket, std::chrono::milliseconds patience) {
  pollfd event{socket.fd(), POLLIN, 0};
  return ::poll(&event, 1, static_cast<int>(patience.count())) == 1;  // nothing more is said on it: readable is its end
}

File listen_for_successor(const std::string& path) {
  File socket = new_socket();
  // Bound under another name and renamed, so that a name always leads to a listening socket; only we can connect (0600).
  std::string fresh = path + ".new";
  ::unlink(fresh.c_str());
  ShortPath name(fresh);
  // The name gets the mode of the socket.
  if (::fchmod(socket.fd(), 0600) != 0 || ::bind(socket.fd(), name.get(), sizeof name.address) != 0)
    throw system_error("bind", fresh, errno);
  if (::listen(socket.fd(), 4) != 0 || ::rename(fresh.c_str(), path.c_str()) != 0) throw system_error("listen on", path, errno);
  return socket;
}

std::optional<File> connect_to_predecessor(const std::string& path) {
  if (::access(path.c_str(), F_OK) != 0) return std::nullopt;
  File socket = new_socket();
  set_deadlines(socket);
  ShortPath name(path);
  if (::connect(socket.fd(), name.get(), sizeof name.address) != 0) {
    if (errno == ECONNREFUSED || errno == ENOENT) return std::nullopt;
    throw system_error("connect to", path, errno);
  }
  check_same_user(socket);
  return socket;
}

}  // namespace lucid::gateway
