#include <algorithm>
#include <array>

#include "lib/net/http.hpp"

namespace lucid::net {

constexpr std::size_t kMethods = 6;

// A tree of path segments: following a path touches each segment once, whatever the number of routes.
struct Router::Node {
  std::vector<std::pair<std::string, std::unique_ptr<Node>>> literals;
  std::unique_ptr<Node> parameter;
  std::array<const Route*, kMethods> by_method{};

  Node* literal(std::string_view segment) const {
    for (const auto& [word, node] : literals)
      if (word == segment) return node.get();
    return nullptr;
  }
};

namespace {

std::vector<std::string_view> segments_of(std::string_view path) {
  std::vector<std::string_view> out;
  out.reserve(8);
  path.remove_prefix(1);
  while (true) {
    std::size_t slash = path.find('/');
    out.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return out;
    path.remove_prefix(slash + 1);
  }
}

bool is_parameter(std::string_view segment) { return segment.size() > 2 && segment.front() == '{' && segment.back() == '}'; }

std::size_t index_of(Method method) { return static_cast<std::size_t>(method); }

}  // namespace

Router::Router() : root_(std::make_unique<Node>()) {}
Router::Router(Router&&) noexcept = default;
Router& Router::operator=(Router&&) noexcept = default;
Router::~Router() = default;

void Router::add(Method method, std::string pattern, Handler handler, RouteOptions options) {
  if (pattern.empty() || pattern.front() != '/') throw Error(ErrorKind::internal, "route pattern must start with '/': " + pattern);
  // A body that is pulled blocks its thread; io threads never block.
  if (options.body == BodyMode::stream && options.run == Run::inline_)
    throw Error(ErrorKind::internal, "a streaming route cannot run inline: " + pattern);
  Node* node = root_.get();
  for (std::string_view segment : segments_of(pattern)) {
    if (is_parameter(segment)) {
      if (!node->parameter) node->parameter = std::make_unique<Node>();
      node = node->parameter.get();
    } else if (Node* next = node->literal(segment)) {
      node = next;
    } else {
      node = node->literals.emplace_back(std::string(segment), std::make_unique<Node>()).second.get();
    }
  }
  if (node->by_method[index_of(method)] != nullptr)
    throw Error(ErrorKind::internal, std::string("two routes for ") + name(method) + " " + pattern);
  routes_.push_back(std::make_unique<Route>(Route{method, std::move(pattern), std::move(handler), options}));
  node->by_method[index_of(method)] = routes_.back().get();
}

const Router::Route* Router::find(const Node& node, Method method, std::span<const std::string_view> rest,
                                  std::array<bool, kMethods>& allowed) {
  if (rest.empty()) {
    for (std::size_t i = 0; i < kMethods; ++i) allowed[i] |= node.by_method[i] != nullptr;
    const Route* route = node.by_method[index_of(method)];
    // Every GET route answers HEAD too.
    if (route == nullptr && method == Method::head) route = node.by_method[index_of(Method::get)];
    return route;
  }
  if (const Node* next = node.literal(rest.front()))
    if (const Route* route = find(*next, method, rest.subspan(1), allowed)) return route;
  if (node.parameter && !rest.front().empty()) return find(*node.parameter, method, rest.subspan(1), allowed);
  return nullptr;
}

Router::Match Router::match(Method method, std::string_view path) const {
  Match match;
  if (path.empty() || path.front() != '/') return match;
  std::vector<std::string_view> segments = segments_of(path);
  std::array<bool, kMethods> allowed{};
  match.route = find(*root_, method, segments, allowed);
  if (match.route == nullptr) {
    if (allowed[index_of(Method::get)]) allowed[index_of(Method::head)] = true;
    for (std::size_t i = 0; i < kMethods; ++i)
      if (allowed[i]) match.allowed.push_back(static_cast<Method>(i));
    return match;
  }
  std::vector<std::string_view> words = segments_of(match.route->pattern);
  for (std::size_t i = 0; i < words.size(); ++i)
    if (is_parameter(words[i])) match.params.emplace(words[i].substr(1, words[i].size() - 2), segments[i]);
  return match;
}

}  // namespace lucid::net
