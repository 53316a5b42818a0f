// The checks of a head: one host, one length or chunks, no coding that is not read, a plain path.
#include "serve/http/http_head.h"

#include <algorithm>

#include "base/error.h"

namespace hypenet {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equal_in_any_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char letter = lower(c);
  return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/// Nothing: an escape without its two digits.
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      bytes += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return bytes;
}

bool has_parent_segment(std::string_view path) {
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find_first_of("/\\", begin), path.size());
    if (path.substr(begin, end - begin) == "..") return true;
    begin = end + 1;
  }
  return false;
}

int64_t count(const HttpRequest& request, std::string_view name) {
  return std::ranges::count_if(request.headers, [&](const HttpHeader& header) {
    return equal_in_any_case(header.name, name);
  });
}

/// A body has one length, or chunks that end it.
std::optional<HttpFault> check_length(const HttpRequest& request, bool is_http11) {
  const int64_t lengths = count(request, "Content-Length");
  const int64_t codings = count(request, "Transfer-Encoding");
  if (lengths > 1) return malformed("expected one Content-Length, found several");
  if (lengths == 1 && codings > 0) {
    return malformed("expected Content-Length or Transfer-Encoding, found both");
  }
  if (lengths == 1) {
    const std::string_view length = request.header("Content-Length");
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (length.empty() || !std::ranges::all_of(length, is_digit)) {
      return malformed("expected a number as Content-Length");
    }
  }
  if (codings == 0) return std::nullopt;
  if (!is_http11) return malformed("expected HTTP/1.1 with Transfer-Encoding, found HTTP/1.0");
  if (codings == 1 && equal_in_any_case(request.header("Transfer-Encoding"), "chunked")) {
    return std::nullopt;
  }
  return malformed("expected chunked as the only Transfer-Encoding");
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
  const auto found = std::ranges::find_if(
      headers, [&](const HttpHeader& header) { return equal_in_any_case(header.name, name); });
  return found == headers.end() ? std::string_view() : std::string_view(found->value);
}

HttpFault malformed(std::string message) { return {400, "bad_request", std::move(message)}; }

std::optional<HttpFault> read_target(HttpRequest& request, std::string_view host) {
  std::string_view target = request.target;
  constexpr std::string_view kScheme = "http://";
  if (equal_in_any_case(target.substr(0, kScheme.size()), kScheme)) {
    target.remove_prefix(kScheme.size());
    const std::string_view address = target.substr(0, target.find_first_of("/?"));
    if (!equal_in_any_case(address, host)) {
      return malformed("the request's address and its Host differ");
    }
    target.remove_prefix(address.size());
    if (target.empty()) target = "/";
  }
  const size_t question = std::min(target.find('?'), target.size());
  const std::optional<std::string> path = percent_decoded(target.substr(0, question));
  if (!path) return malformed("the path has a broken percent escape");
  if (!path->starts_with('/') && !(request.method == "OPTIONS" && *path == "*")) {
    return malformed("expected a path that begins with /");
  }
  if (path->find('\0') != path->npos) return malformed("the path has a NUL");
  if (has_parent_segment(*path)) return malformed("the path has a .. segment");
  request.path = *path;
  request.query = target.substr(std::min(question + 1, target.size()));
  return std::nullopt;
}

std::optional<HttpFault> check_head(HttpRequest& request, bool is_http11,
                                    const HttpLimits& limits) {
  if (std::ssize(request.target) > limits.target_bytes) {
    return HttpFault{414, "uri_too_long",
                     concat("the URI is longer than ", limits.target_bytes, " bytes")};
  }
  if (std::ssize(request.headers) > limits.header_fields) {
    return HttpFault{431, "headers_too_large",
                     concat("the header has more than ", limits.header_fields, " fields")};
  }
  const int64_t hosts = count(request, "Host");
  if (hosts > 1) return malformed("expected one Host, found several");
  if (hosts == 0 && is_http11) return malformed("expected a Host, found none");
  if (auto fault = check_length(request, is_http11)) return fault;
  const std::string_view coding = request.header("Content-Encoding");
  if (!coding.empty() && !equal_in_any_case(coding, "identity")) {
    return HttpFault{415, "encoding_not_supported", "bodies are read without Content-Encoding"};
  }
  const std::string_view expected = request.header("Expect");
  if (is_http11 && !expected.empty() && !equal_in_any_case(expected, "100-continue")) {
    return HttpFault{417, "expectation_failed", "the only Expect answered is 100-continue"};
  }
  return read_target(request, request.header("Host"));
}

}  // namespace hypenet
