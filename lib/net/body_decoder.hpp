// Takes a request body out of the bytes received so far: by Content-Length, or chunked through Beast's parser (trailers are dropped).
// Knows nothing of sockets, so the coroutine that buffers a body and the worker that pulls one share it. Internal to lib/net.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>

#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>

#include "lib/base/bytes.hpp"
#include "lib/base/error.hpp"

namespace lucid::net {

namespace http = boost::beast::http;
using RequestParser = http::request_parser<http::buffer_body>;

// Bytes received and not yet parsed.
class ReadBuffer {
 public:
  static constexpr std::size_t kCapacity = 32 << 10;
  bool empty() const { return begin_ == end_; }
  std::span<const std::uint8_t> data() const { return {bytes_.get() + begin_, end_ - begin_}; }
  void consume(std::size_t n) {
    begin_ += n;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  // Room for more; empty only when kCapacity bytes wait.
  std::span<std::uint8_t> room() {
    if (!bytes_) bytes_.reset(new std::uint8_t[kCapacity]);
    if (begin_ > 0 && end_ == kCapacity) {
      std::memmove(bytes_.get(), bytes_.get() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    return {bytes_.get() + end_, kCapacity - end_};
  }
  void added(std::size_t n) { end_ += n; }

 private:
  std::unique_ptr<std::uint8_t[]> bytes_;
  std::size_t begin_ = 0, end_ = 0;
};

class BodyDecoder {
 public:
  // `parser` has parsed the head, `in` holds what follows it. The body is at most `limit` bytes (a larger Content-Length was refused
  // before).
  BodyDecoder(RequestParser& parser, ReadBuffer& in, std::uint64_t limit) : parser_(parser), in_(in), chunked_(parser.chunked()) {
    if (chunked_) {
      parser_.body_limit(limit);
      parser_.eager(true);
    } else {
      left_ = parser.content_length().value_or(0);
    }
  }

  bool done() const { return chunked_ ? parser_.is_done() : left_ == 0; }
  // Bytes that may be received straight into the caller's memory: only while the buffer is empty.
  std::uint64_t direct() const { return chunked_ || !in_.empty() ? 0 : left_; }
  void received_directly(std::size_t n) { left_ -= n; }
  std::uint64_t left() const { return left_; }

  // Moves what is there into `out` (not empty); 0 when more must be received first, or at the end.
  // Throws Error{malformed|too_large}.
  std::size_t take(std::span<std::uint8_t> out) {
    if (in_.empty() || done()) return 0;
    if (!chunked_) {
      std::size_t n = std::min<std::uint64_t>({out.size(), in_.data().size(), left_});
      std::memcpy(out.data(), in_.data().data(), n);
      in_.consume(n);
      left_ -= n;
      return n;
    }
    auto& body = parser_.get().body();
    body.data = out.data();
    body.size = out.size();
    body.more = true;
    boost::system::error_code ec;
    std::size_t used = parser_.put(boost::asio::const_buffer(in_.data().data(), in_.data().size()), ec);
    in_.consume(used);
    if (ec == http::error::body_limit) throw Error(ErrorKind::too_large, "the request body is too large");
    if (ec && ec != http::error::need_more && ec != http::error::need_buffer)
      throw Error(ErrorKind::malformed, "bad_chunk", "the request body is not well-formed chunked encoding");
    std::size_t n = out.size() - body.size;
    if (n == 0 && !done() && in_.room().empty())
      throw Error(ErrorKind::malformed, "bad_chunk", "a chunk header or the trailers are too long");
    return n;
  }

 private:
  RequestParser& parser_;
  ReadBuffer& in_;
  bool chunked_;
  std::uint64_t left_ = 0;
};

}  // namespace lucid::net
