// The grammar of HTTP/1.1 is Boost.Beast's parser; this is the one file with it.
// Its header and body limits are set here; what it lets pass and should not is in http_head.cpp.
#include "serve/http/http_reader.h"

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "base/error.h"
#include "serve/http/http_answer.h"

namespace hypenet {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;

HttpFault fault_of(const error_code& error, bool has_target, const HttpLimits& limits) {
  if (error == http::error::body_limit) {
    return {413, "body_too_large", concat("the body is longer than ", limits.body_bytes, " bytes")};
  }
  if (error != http::error::header_limit) return malformed("malformed HTTP: " + error.message());
  if (!has_target) {
    return {414, "uri_too_long", concat("the URI is longer than ", limits.target_bytes, " bytes")};
  }
  return {431, "headers_too_large",
          concat("the header is longer than ", limits.header_bytes, " bytes")};
}

}  // namespace

struct HttpReader::Parser : http::request_parser<http::string_body> {
  int64_t head_bytes = 0;
};

HttpReader::HttpReader(const HttpLimits& limits) : limits_(limits) {}
HttpReader::~HttpReader() = default;

void HttpReader::push(std::string_view bytes) { waiting_ += bytes; }

HttpReader::Phase HttpReader::refuse(HttpFault fault) {
  fault_ = std::move(fault);
  return phase_ = Phase::kFault;
}

HttpReader::Phase HttpReader::read() {
  if (phase_ == Phase::kIdle) {
    // A line's end before a request is left over from the one before (RFC 9112, section 2.2).
    while (waiting_.starts_with("\r\n")) waiting_.erase(0, 2);
    if (waiting_.empty() || waiting_ == "\r") return phase_;
    parser_ = std::make_unique<Parser>();
    parser_->header_limit(static_cast<uint32_t>(limits_.header_bytes));
    parser_->body_limit(static_cast<uint64_t>(limits_.body_bytes));
    phase_ = Phase::kHead;
  }
  if (phase_ == Phase::kHead || phase_ == Phase::kBody) parse();
  return phase_;
}

void HttpReader::parse() {
  size_t read = 0;
  error_code error;
  while (!error && phase_ != Phase::kFault && !parser_->is_done() &&
         read + least_bytes() <= waiting_.size()) {
    const size_t bytes =
        parser_->put(boost::asio::buffer(waiting_.data() + read, waiting_.size() - read), error);
    read += bytes;
    if (phase_ != Phase::kHead) continue;
    parser_->head_bytes += static_cast<int64_t>(bytes);
    if (parser_->is_header_done()) accept_head();
  }
  waiting_.erase(0, read);
  if (phase_ == Phase::kFault) return;
  if (error && error != http::error::need_more) {
    refuse(fault_of(error, !parser_->get().target().empty(), limits_));
  } else if (parser_->is_done()) {
    request_.body = std::move(parser_->get().body());
    phase_ = Phase::kWhole;
  } else if (phase_ == Phase::kBody && waiting_bytes() > limits_.header_bytes) {
    // What is left unread of a body is the line of a chunk's size, or the fields behind the last.
    refuse(malformed("a chunk's extension or trailer is too long"));
  }
}

/// Chunks end with "0", two line ends at least, and before them Beast asserts that it sees so much.
size_t HttpReader::least_bytes() const {
  return phase_ == Phase::kBody && parser_->chunked() ? kLastChunk.size() : 1;
}

/// The head as it stands before the body: fields behind the last chunk are no part of it.
void HttpReader::accept_head() {
  const auto& head = parser_->get();
  request_.method = head.method_string();
  request_.target = head.target();
  for (const auto& field : head) {
    request_.headers.push_back({field.name_string(), field.value()});
  }
  is_http11_ = head.version() == 11;
  keeps_alive_ = is_http11_ && parser_->keep_alive();
  phase_ = Phase::kBody;
  if (parser_->head_bytes > limits_.header_bytes) {
    refuse(fault_of(http::error::header_limit, true, limits_));
  } else if (auto fault = check_head(request_, is_http11_, limits_)) {
    refuse(std::move(*fault));
  } else {
    expects_continue_ = is_http11_ && !parser_->is_done() && !request_.header("Expect").empty();
  }
}

bool HttpReader::take_expectation() {
  // Who sends the body anyway does not wait.
  return std::exchange(expects_continue_, false) && waiting_.empty() && body_bytes() == 0;
}

HttpRequest HttpReader::take() {
  parser_.reset();
  phase_ = Phase::kIdle;
  expects_continue_ = false;
  return std::exchange(request_, {});
}

int64_t HttpReader::body_bytes() const { return parser_ ? std::ssize(parser_->get().body()) : 0; }

}  // namespace hypenet
