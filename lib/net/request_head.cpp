#include "lib/net/request_head.hpp"

#include "lib/base/id.hpp"
#include "lib/net/response_head.hpp"
#include "lib/net/target.hpp"
#include "lib/net/text.hpp"
#include "lib/net/trace.hpp"

namespace lucid::net {
namespace {

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

std::optional<Method> method_of(http::verb verb) {
  switch (verb) {
    case http::verb::get: return Method::get;
    case http::verb::head: return Method::head;
    case http::verb::post: return Method::post;
    case http::verb::put: return Method::put;
    case http::verb::patch: return Method::patch;
    case http::verb::delete_: return Method::del;
    default: return std::nullopt;
  }
}

// RFC 9112 section 6.3: what two parsers could frame differently is refused, so no request can hide in another's body.
const char* framing_fault(const RequestParser& parser) {
  const auto& fields = parser.get();
  if (parser.get().version() == 11 && fields.count(http::field::host) != 1) return "must have exactly one Host";
  std::size_t encodings = fields.count(http::field::transfer_encoding);
  if (encodings > 1 || (encodings == 1 && !same_word(trim(view(fields[http::field::transfer_encoding])), "chunked")))
    return "may have no Transfer-Encoding but chunked";
  if (encodings == 1 && parser.get().version() == 10) return "of HTTP/1.0 may not have a Transfer-Encoding";
  if (encodings == 1 && fields.count(http::field::content_length) > 0) return "may not have both Content-Length and Transfer-Encoding";
  return nullptr;
}

std::string allow_list(const std::vector<Method>& allowed) {
  std::string out;
  for (Method method : allowed) out.append(out.empty() ? "" : ", ").append(name(method));
  return out;
}

}  // namespace

std::string new_request_id() {
  static const SystemClock clock;
  static SystemRandom random;
  return Id::make(clock, random).text();
}

Response parser_problem(const boost::system::error_code& ec, const std::string& request_id) {
  if (ec == http::error::header_limit)
    return problem_with_status(431, Error(ErrorKind::malformed, "header_too_large", "the request head is larger than 16 KiB"), request_id);
  return problem(Error(ErrorKind::malformed, "bad_request", "not a well-formed HTTP/1.1 request: " + ec.message()), request_id);
}

std::optional<Response> read_request_head(const RequestParser& parser, const Router& router, Exchange& x) {
  const auto& head = parser.get();
  Request& request = x.request;
  for (const auto& field : head) request.headers.add(view(field.name_string()), std::string(view(field.value())));
  std::string_view given_id = view(head["X-Request-ID"]);
  request.request_id = is_request_id(given_id) ? std::string(given_id) : new_request_id();
  if (std::string_view parent = view(head["traceparent"]); is_traceparent(parent)) request.traceparent = parent;
  x.http_1_0 = head.version() == 10;
  x.method_text = view(head.method_string());

  auto malformed = [&](std::string code, const std::string& what) {
    return problem(Error(ErrorKind::malformed, std::move(code), what), request.request_id);
  };
  if (const char* fault = framing_fault(parser)) return malformed("bad_request", std::string("a request ") + fault);
  x.has_body = parser.chunked() || parser.content_length().value_or(0) > 0;
  x.keep_alive = head.keep_alive();

  std::string_view raw_target = view(head.target());
  if (raw_target.size() > kMaxTarget)
    return problem_with_status(414, Error(ErrorKind::malformed, "uri_too_long", "the request target is longer than 8 KiB"),
                               request.request_id);
  Expected<Target> target = parse_target(raw_target);
  if (!target) return problem(target.error(), request.request_id);
  request.path = std::move(target->path);
  request.query = std::move(target->query);

  std::optional<Method> method = method_of(head.method());
  request.method = method.value_or(Method::get);
  x.other_method = !method;
  Router::Match match = router.match(request.method, request.path);
  if (!method && match.route != nullptr) {
    // Some other method: find out which ones this path has by asking for each.
    for (Method known : {Method::get, Method::head, Method::post, Method::put, Method::patch, Method::del})
      if (router.match(known, request.path).route != nullptr) match.allowed.push_back(known);
    match.route = nullptr;
  }
  if (match.route == nullptr && match.allowed.empty())
    return problem(Error(ErrorKind::not_found, "route_not_found", "there is nothing at " + to_utf8(request.path, 200)), request.request_id);
  if (match.route == nullptr) {
    std::string allow = allow_list(match.allowed);
    Response response =
        problem(Error(ErrorKind::method_not_allowed, to_utf8(request.path, 200) + " answers " + allow + " only"), request.request_id);
    response.headers.set("Allow", std::move(allow));
    return response;
  }
  x.route = match.route;
  request.params = std::move(match.params);

  if (std::uint64_t length = parser.content_length().value_or(0); length > x.route->options.max_body)
    return problem(Error(ErrorKind::too_large, "the request body of " + std::to_string(length) + " bytes is larger than the " +
                                                   std::to_string(x.route->options.max_body) + " allowed here"),
                   request.request_id);
  if (std::string_view expect = trim(view(head[http::field::expect])); !expect.empty() && !x.http_1_0) {
    if (!same_word(expect, "100-continue"))
      return problem_with_status(417, Error(ErrorKind::malformed, "expectation_failed", "the only expectation met is 100-continue"),
                                 request.request_id);
    x.expects_continue = x.has_body;
  }
  return std::nullopt;
}

}  // namespace lucid::net
