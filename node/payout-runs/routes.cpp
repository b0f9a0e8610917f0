#include "node/payout-runs/routes.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace lucid::payout_runs {
namespace {

using net::Method;
using net::Request;
using net::Response;

Id id_of(const Request& request, const char* code, const char* what) {
  auto id = Id::parse(request.param("id"));
  if (!id) throw Error(ErrorKind::not_found, code, fmt::format("there is no {} of that id", what));
  return *id;
}

Error refused(const char* pointer, const char* reason) {
  return Error(ErrorKind::invalid, "query_invalid", "the request cannot be answered as asked").with_fields({{pointer, reason}});
}

void expect_no_fields(const Request& request) {
  if (request.body.empty()) return;
  json::value body = request.json_body();
  FieldReader in(body);
  in.finish();
}

payouts::Ratio ratio(FieldReader& policy, const char* key, payouts::Ratio fallback) {
  if (!policy.has(key)) return fallback;
  FieldReader in = policy.child(key);
  payouts::Ratio r{static_cast<std::uint32_t>(in.integer("part", 0, 1'000'000)),
                   static_cast<std::uint32_t>(in.integer("of", 1, 1'000'000))};
  in.finish_child();
  if (r.part > r.of) policy.refuse(key, "must not be more than the whole");
  return r;
}

payouts::Micros amount(FieldReader& policy, const char* key, payouts::Micros fallback) {
  if (!policy.has(key)) return fallback;
  auto micros = payouts::parse_micros(policy.text(key, {.min = 1, .max = 40}), payouts::Zero::refused);
  if (!micros) policy.refuse(key, micros.error().what());
  return micros.value_or(fallback);
}

PayoutRuns::PeriodRequest read_period_request(const json::value& body) {
  FieldReader in(body);
  PayoutRuns::PeriodRequest r;
  r.id = in.text("id", {.min = 1, .max = 64});
  r.first = static_cast<poot::Epoch>(in.integer("first_epoch", 0, poot::kMaxEpoch));
  r.last = static_cast<poot::Epoch>(in.integer("last_epoch", 0, poot::kMaxEpoch));
  r.budget = in.text("budget", {.min = 1, .max = 40});
  r.currency = in.text("currency", {.min = 1, .max = 16});
  if (in.has("policy")) {
    FieldReader policy = in.child("policy");
    r.policy.withheld = ratio(policy, "withheld", r.policy.withheld);
    r.policy.fee = ratio(policy, "fee", r.policy.fee);
    r.policy.threshold = amount(policy, "threshold", r.policy.threshold);
    r.policy.split_above = amount(policy, "split_above", r.policy.split_above);
    r.policy.minimum = amount(policy, "minimum", r.policy.minimum);
    policy.finish_child();
  }
  in.finish();
  return r;
}

json::value describe(PayoutRuns& runs, const Payout& payout) {
  json::value value = payout_runs::describe(payout);
  if (payout.state() == State::processing)
    if (std::string problem = runs.problem(*payout.batch()); !problem.empty()) value.as_object()["problem"] = problem;
  return value;
}

json::value describe(PayoutRuns& runs, const Batch& batch) {
  json::object value = to_json(batch).as_object();
  payouts::Micros total = 0;
  for (const Payment& p : batch.submission.payments) total += p.micro;
  value["total"] = payouts::to_text(total);
  value["state"] = batch.settled ? "settled" : batch.reference.empty() ? "open" : "accepted";
  value.erase("settled");
  if (std::string problem = runs.problem(batch.submission.batch); !problem.empty()) value["problem"] = problem;
  return value;
}

json::value describe(const PeriodRecord& period) {
  json::object value = to_json(period).as_object();
  value.erase("pieces");
  // Said in words, since no node being paid is not an error.
  if (period.budget_carried_out > 0)
    value["note"] = fmt::format("{} could be given to no node and is carried over to the next period in {}",
                                payouts::to_text(period.budget_carried_out), period.currency.code());
  return value;
}

PayoutRuns::Filter filter_of(const Request& request, PayoutRuns& runs) {
  PayoutRuns::Filter filter;
  if (auto text = request.query_text("state")) {
    filter.state = state(*text);
    if (!filter.state) throw refused("/state", "must be pending, processing, completed, failed or cancelled");
  }
  if (auto text = request.query_text("node")) {
    filter.node = Id::parse(*text);
    if (!filter.node || !runs.knows_node(*filter.node)) throw refused("/node", "there is no node of that id");
  }
  return filter;
}

Response page_of(const Request& request, PayoutRuns& runs, const PayoutRuns::Filter& filter) {
  auto limit = request.query_integer_or("limit", 50, 1, 100);
  std::string cursor = request.query_text("cursor").value_or("");
  if (!cursor.empty() && (!Id::parse(cursor) || Id::parse(cursor)->text() != cursor))
    throw refused("/cursor", "is not one this service gave");
  PayoutRuns::Page page = runs.list(filter, cursor, static_cast<std::size_t>(limit));
  json::array rows;
  for (const Payout& payout : page.payouts) rows.push_back(describe(runs, payout));
  return Response::json(200, json::object{{"payouts", std::move(rows)}, {"cursor", page.next}});
}

// RFC 4180; the only text from outside is the rail's reference, which must not begin a formula in a spreadsheet.
std::string csv_text(const std::string& text) {
  std::string out = "\"";
  if (!text.empty() && std::string_view("=+-@\t\r").find(text.front()) != std::string_view::npos) out += '\'';
  for (char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

std::string csv_row(const Payout& p) {
  return fmt::format("{},{},{},{},{},{},{},{},{},{},{},{}\r\n", p.payment.payout.text(), p.payment.period, p.payment.node.text(), p.index,
                     p.of, payouts::to_text(p.payment.micro), p.currency, name(p.state()), p.batch() ? p.batch()->text() : "",
                     csv_text(p.reference()), to_rfc3339(p.made_wall_ms),
                     to_rfc3339(p.events.empty() ? p.made_wall_ms : p.events.back().at_wall_ms));
}

// A body made page by page, so that it never stands in memory as a whole. `next` answers the next piece, "" at the end.
std::function<std::size_t(std::span<std::uint8_t>)> streamed(std::function<std::string()> next) {
  return [next = std::move(next), piece = std::string(), at = std::size_t{0}](std::span<std::uint8_t> out) mutable {
    if (at == piece.size()) {
      piece = next();
      at = 0;
    }
    std::size_t n = std::min(out.size(), piece.size() - at);
    std::copy_n(piece.begin() + static_cast<std::ptrdiff_t>(at), n, out.begin());
    at += n;
    return n;
  };
}

Response csv(PayoutRuns& runs, const PayoutRuns::Filter& filter) {
  Response response;
  response.headers.set("Content-Type", "text/csv; charset=utf-8; header=present");
  response.headers.set("Content-Disposition", "attachment; filename=\"payouts.csv\"");
  response.stream = streamed([&runs, filter, cursor = std::string(), begun = false, ended = false]() mutable {
    std::string piece = begun ? "" : "id,period,node,index,of,amount,currency,state,batch,reference,made_at,since\r\n";
    begun = true;
    while (piece.empty() && !ended) {
      PayoutRuns::Page page = runs.list(filter, cursor, 100);
      for (const Payout& payout : page.payouts) piece += csv_row(payout);
      cursor = page.next;
      ended = cursor.empty();
    }
    return piece;
  });
  return response;
}

Response statement(PayoutRuns& runs, const std::string& id) {
  PeriodRecord period = runs.period(id);
  Response response;
  response.headers.set("Content-Type", "application/json");
  response.headers.set("ETag", "\"" + to_hex(period.statement) + "\"");
  response.stream = streamed([&runs, id, pieces = period.pieces, next = std::size_t{0}]() mutable {
    return next == pieces ? std::string() : runs.statement_piece(id, next++);
  });
  return response;
}

}  // namespace

void add_routes(net::Router& router, PayoutRuns& runs) {
  const std::string base = "/api/v1/payouts";
  router.add(Method::post, base + "/periods", [&runs](Request& request) {
    auto closed = runs.close_period(read_period_request(request.json_body()));
    return Response::json(closed.created ? 201 : 200, describe(closed.period));
  });
  router.add(Method::get, base + "/periods", [&runs](Request& request) {
    auto limit = static_cast<std::size_t>(request.query_integer_or("limit", 50, 1, 100));
    auto found = runs.periods(request.query_text("cursor").value_or(""), limit);
    json::array rows;
    for (const PeriodRecord& period : found) rows.push_back(describe(period));
    return Response::json(200, json::object{{"periods", std::move(rows)}, {"cursor", found.size() == limit ? found.back().id : ""}});
  });
  router.add(Method::get, base + "/periods/{id}",
             [&runs](Request& request) { return Response::json(200, describe(runs.period(request.param("id")))); });
  router.add(Method::get, base + "/periods/{id}/statement", [&runs](Request& request) { return statement(runs, request.param("id")); });
  router.add(Method::post, base + "/batches", [&runs](Request& request) {
    json::value body = request.json_body();
    FieldReader in(body);
    std::string currency = in.text("currency", {.min = 1, .max = 16});
    in.finish();
    json::array rows;
    for (const Batch& batch : runs.make_batches(currency)) rows.push_back(describe(runs, batch));
    return Response::json(201, json::object{{"batches", std::move(rows)}});
  });
  router.add(Method::get, base + "/batches/{id}", [&runs](Request& request) {
    return Response::json(200, describe(runs, runs.batch(id_of(request, "batch_not_found", "payout batch"))));
  });
  router.add(Method::get, base, [&runs](Request& request) { return page_of(request, runs, filter_of(request, runs)); });
  router.add(Method::get, "/api/v1/payouts.csv", [&runs](Request& request) { return csv(runs, filter_of(request, runs)); });
  router.add(Method::get, base + "/{id}", [&runs](Request& request) {
    return Response::json(200, describe(runs, runs.payout(id_of(request, "payout_not_found", "payout"))));
  });
  router.add(Method::post, base + "/{id}/cancel", [&runs](Request& request) {
    expect_no_fields(request);
    return Response::json(200, describe(runs, runs.cancel(id_of(request, "payout_not_found", "payout"))));
  });
  router.add(Method::post, base + "/{id}/retry", [&runs](Request& request) {
    expect_no_fields(request);
    return Response::json(200, describe(runs, runs.retry(id_of(request, "payout_not_found", "payout"))));
  });
  router.add(Method::get, "/api/v1/nodes/{id}/payouts", [&runs](Request& request) {
    PayoutRuns::Filter filter = filter_of(request, runs);
    filter.node = id_of(request, "node_not_found", "node");
    if (!runs.knows_node(*filter.node)) throw Error(ErrorKind::not_found, "node_not_found", "there is no node of that id");
    return page_of(request, runs, filter);
  });
}

}  // namespace lucid::payout_runs
