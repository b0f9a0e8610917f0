#include "node/payout-runs/http_rail.hpp"

#include <algorithm>

#include <sys/stat.h>

#include <fmt/format.h>

#include "lib/crypto/hash.hpp"

namespace lucid::payout_runs {
namespace {

constexpr const char* kBatchesTarget = "/v1/batches";

Error unclear(const char* code, const std::string& what) { return Error(ErrorKind::unavailable, code, "the payment service " + what); }

bool is_account(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

std::string hex_digest(ByteView body) { return to_hex(crypto::sha256(body)); }

// What the service says is outside bytes: any field that is not as agreed makes the whole answer unclear.
template <class Read>
auto reading(Read read) {
  try {
    return read();
  } catch (const Error& e) {
    std::string where = e.fields().empty() ? "" : " at " + to_utf8(e.fields().front().pointer, 100);
    throw unclear("rail_malformed", "answered something that is not as agreed" + where);
  }
}

}  // namespace

Credentials read_credentials(FileOps& files, const std::string& path) {
  auto refuse = [&](const char* code, const char* why) {
    return Error(ErrorKind::unavailable, code, fmt::format("the payment credentials {} cannot be used: {}", path, why));
  };
  Bytes text;
  try {
    File file = files.open(path, OpenMode::read);
    struct stat info{};
    if (::fstat(file.fd(), &info) != 0 || (info.st_mode & 0077) != 0)
      throw refuse("credentials_mode", "others may read the file; chmod 600 it");
    text = files.read_file(path, 16 << 10);
  } catch (const Error& e) {
    if (e.code() == "credentials_mode") throw;
    throw refuse("credentials_unreadable", "the file cannot be read");
  }
  auto malformed = [&] { return refuse("credentials_malformed", "it must be JSON with account, signing_key and service_key"); };
  auto value = parse_json(as_text(text));
  if (!value) throw malformed();
  try {
    FieldReader in(*value);
    std::string account = in.text("account", {.min = 1, .max = 64});
    auto signing = crypto::SigningKey::parse(in.text("signing_key", {.min = 1, .max = 100}));
    auto service = crypto::VerifyKey::parse(in.text("service_key", {.min = 1, .max = 100}));
    in.finish();
    if (!signing || !service || !is_account(account)) throw malformed();
    return {.account = account, .signing_key = std::move(*signing), .service_key = *service};
  } catch (const Error&) { throw malformed(); }
}

std::string signed_request(std::string_view method, std::string_view target, std::string_view key, ByteView body) {
  return fmt::format("lucid-payment-request-v1\n{}\n{}\n{}\n{}", method, target, key, hex_digest(body));
}

std::string signed_answer(std::string_view method, std::string_view target, std::string_view key, int status, ByteView body) {
  return fmt::format("lucid-payment-answer-v1\n{}\n{}\n{}\n{}\n{}", method, target, key, status, hex_digest(body));
}

HttpRail::HttpRail(Config config, Credentials credentials)
    : credentials_(std::move(credentials)),
      client_(net::ClientConfig{.base_url = config.url, .bearer = {}, .timeout = config.timeout, .max_response = config.max_answer}) {}

HttpRail::Answer HttpRail::call(net::Method method, const std::string& target, const std::string& key, const std::string& body) {
  net::Call call{.method = method,
                 .target = target,
                 .headers = {},
                 .body = as_bytes(body),
                 .content_type = body.empty() ? "" : "application/json",
                 .timeout = {},
                 .sink = {}};
  call.headers.set("Idempotency-Key", key);
  call.headers.set(kAccountHeader, credentials_.account);
  call.headers.set(kSignatureHeader,
                   to_base64url(credentials_.signing_key.sign(as_bytes(signed_request(net::name(method), target, key, as_bytes(body))))));
  net::Response response;
  try {
    response = client_.send(call);
  } catch (const Error& e) {
    // What is wrong with a certificate is for an operator to mend.
    throw unclear("rail_unreachable", fmt::format("did not answer ({})", e.code() == "tls_failed" ? e.what() : e.code()));
  }
  auto signature = from_base64url(response.headers.get(kSignatureHeader).value_or(""));
  if (!signature ||
      !credentials_.service_key.verify(as_bytes(signed_answer(net::name(method), target, key, response.status, response.body)), *signature))
    throw unclear("rail_unsigned", fmt::format("answered {} without its signature; nothing of it is believed", response.status));
  auto value = parse_json(as_text(response.body));
  if (!value || !value->is_object())
    throw unclear("rail_malformed", fmt::format("answered {} with something that is not JSON", response.status));
  Answer answer{.status = response.status, .body = std::move(value->as_object()), .code = ""};
  if (answer.status >= 300)
    if (const json::value* code = answer.body.if_contains("code"); code != nullptr && code->is_string()) answer.code = code->as_string();
  return answer;
}

Accepted HttpRail::submit(const Submission& batch, const std::string& key) {
  json::array payments;
  for (const Payment& p : batch.payments)
    payments.push_back({{"id", p.payout.text()}, {"payee", p.node.text()}, {"period", p.period}, {"micro", p.micro}});
  std::string body = json::serialize(
      json::object{{"key", key}, {"batch", batch.batch.text()}, {"currency", batch.currency}, {"payments", std::move(payments)}});
  Answer answer = call(net::Method::post, kBatchesTarget, key, body);
  if (answer.status >= 400 && answer.status < 500 && answer.code == "batch_refused") {
    const json::value* detail = answer.body.if_contains("detail");
    std::string why = detail != nullptr && detail->is_string() ? to_utf8(detail->as_string(), 200) : "";
    return {.reference = "", .refusal = why.empty() ? "no reason given" : why};
  }
  if (answer.status != 200 && answer.status != 201 && answer.status != 202)
    throw unclear("rail_unclear", fmt::format("answered a batch with status {}", answer.status));
  return reading([&] {
    json::value value(answer.body);
    FieldReader in(value);
    if (in.text("key", {.min = 1, .max = 200}) != key) in.refuse("key", "is another one");
    Accepted accepted{.reference = in.text("reference", {.min = 1, .max = kMaxReference}), .refusal = ""};
    in.finish();
    return accepted;
  });
}

BatchStatus HttpRail::status(const std::string& key, const std::string&) {
  Answer answer = call(net::Method::get, fmt::format("{}/{}", kBatchesTarget, net::percent_encode(key)), key, "");
  if (answer.status == 404 && answer.code == "batch_unknown") return {};
  if (answer.status != 200) throw unclear("rail_unclear", fmt::format("answered the state of a batch with status {}", answer.status));
  return reading([&] {
    json::value value(answer.body);
    FieldReader in(value);
    if (in.text("key", {.min = 1, .max = 200}) != key) in.refuse("key", "is another one");
    BatchStatus status{.known = true,
                       .reference = in.text("reference", {.min = 1, .max = kMaxReference}),
                       .currency = in.text("currency", {.max = 16}),
                       .payments = {}};
    const json::value* rows = in.raw("payments");
    if (rows == nullptr || !rows->is_array() || rows->as_array().size() > 1'000) in.refuse("payments", "must be a list of at most 1000");
    in.finish();
    for (const json::value& row : rows->as_array()) {
      FieldReader p(row, "/payments");
      auto payout = Id::parse(p.text("id", {.max = 36}));
      auto node = Id::parse(p.text("payee", {.max = 36}));
      PaymentStatus s;
      s.micro = p.integer("micro", 0, payouts::kMaxMicros);
      s.confirmations = p.integer("confirmations", 0, INT64_MAX);
      std::string state = p.text("state", {.max = 20});
      s.reason = p.text_or("reason", "", {.max = 1'000});
      p.finish();
      if (!payout || !node) throw Error(ErrorKind::invalid, "id");
      s.payout = *payout;
      s.node = *node;
      if (state == "rejected")
        s.fate = PaymentStatus::Fate::rejected;
      else if (state == "paid" && s.confirmations >= kConfirmations)
        s.fate = PaymentStatus::Fate::paid;
      else if (state != "paid" && state != "pending")
        throw Error(ErrorKind::invalid, "state");
      status.payments.push_back(std::move(s));
    }
    return status;
  });
}

}  // namespace lucid::payout_runs
