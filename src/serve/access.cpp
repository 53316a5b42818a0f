// Keys are compared in constant time; hosts and origins by whole names.
#include "serve/access.h"

#include <algorithm>

#include "base/ascii.h"
#include "base/files.h"

namespace hypenet {
namespace {

constexpr std::string_view kMethods = "GET, HEAD, POST, DELETE, OPTIONS";

std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

/// "host:port" without its port, and without the brackets of an IPv6 address.
std::string host_name(std::string_view host) {
  if (host.starts_with('[')) return ascii_lower_case(host.substr(1, host.find(']') - 1));
  return ascii_lower_case(host.substr(0, host.find(':')));
}

/// Looks at every byte, wherever the first difference is.
bool equals_in_constant_time(std::string_view left, std::string_view right) {
  if (left.size() != right.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    difference |= static_cast<unsigned char>(left[i]) ^ static_cast<unsigned char>(right[i]);
  }
  return difference == 0;
}

std::string_view given_key(const HttpRequest& request) {
  constexpr std::string_view kBearer = "bearer ";
  const std::string_view authorization = request.header("authorization");
  if (ascii_lower_case(authorization.substr(0, kBearer.size())) == kBearer) {
    return trimmed(authorization.substr(kBearer.size()));
  }
  return trimmed(request.header("x-api-key"));
}

/// The origin of a page that this server gave out itself.
bool is_own_origin(std::string_view origin, std::string_view host) {
  return origin == concat("http://", host) || origin == concat("https://", host);
}

bool is_allowed_origin(const AccessRules& rules, std::string_view origin) {
  return rules.cors_origins.contains(std::string(origin)) || rules.cors_origins.contains("*");
}

}  // namespace

bool is_loopback(std::string_view host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

ApiKeys ApiKeys::read(const std::filesystem::path& file) {
  ApiKeys result;
  const std::string text = read_file(file);
  size_t begin = 0;
  for (int line = 1; begin < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const auto entry = trimmed(std::string_view(text).substr(begin, end - begin));
    begin = end + 1;
    if (entry.empty() || entry.starts_with('#')) continue;
    const size_t colon = entry.find(':');
    const bool is_named = colon != std::string_view::npos;
    const auto key = trimmed(is_named ? entry.substr(colon + 1) : entry);
    const std::string name = is_named ? std::string(trimmed(entry.substr(0, colon))) : "";
    HYPENET_CHECK(!key.empty(), file.string(), ":", line, ": expected a key, found none");
    result.keys_.push_back({name.empty() ? concat("key ", line) : name, std::string(key)});
  }
  HYPENET_CHECK(!result.keys_.empty(), file.string(), ": expected a key a line, found none");
  return result;
}

std::optional<std::string> ApiKeys::name_of(std::string_view key) const {
  std::optional<std::string> name;
  for (const Key& known : keys_) {
    if (equals_in_constant_time(known.key, key)) name = known.name;
  }
  return name;
}

void check_browser(const AccessRules& rules, const HttpRequest& request) {
  const std::string_view host = request.header("host");
  if (is_loopback(rules.host)) {
    const std::string name = host_name(host);
    if (!host.empty() && !is_loopback(name) && !rules.allowed_hosts.contains(name)) {
      throw ApiError("host_not_allowed",
                     concat("Host: expected localhost, 127.0.0.1, [::1] or a name of --allow-host, "
                            "found ",
                            name));
    }
  }
  const std::string_view origin = request.header("origin");
  if (!origin.empty() && !is_own_origin(origin, host) && !is_allowed_origin(rules, origin)) {
    throw ApiError(
        "origin_not_allowed",
        concat("Origin: expected this server's or one of --cors-origin, found ", origin));
  }
}

std::vector<HttpHeader> cors_headers(const AccessRules& rules, const HttpRequest& request) {
  const std::string_view origin = request.header("origin");
  if (origin.empty() || !is_allowed_origin(rules, origin)) return {};
  const bool is_any = rules.cors_origins.contains("*");
  return {{"Access-Control-Allow-Origin", is_any ? "*" : std::string(origin)},
          {"Access-Control-Expose-Headers", "x-request-id, x-ignored-params, retry-after"},
          {"Vary", "Origin"}};
}

HttpResponse preflight_answer(const AccessRules& rules, const HttpRequest& request) {
  HttpResponse answer{.status = 204, .headers = cors_headers(rules, request), .content_type = ""};
  answer.headers.push_back({"Allow", std::string(kMethods)});
  answer.headers.push_back({"Access-Control-Allow-Methods", std::string(kMethods)});
  const auto asked = request.header("access-control-request-headers");
  answer.headers.push_back({"Access-Control-Allow-Headers",
                            asked.empty() ? "authorization, content-type, x-api-key, x-request-id"
                                          : std::string(asked)});
  answer.headers.push_back({"Access-Control-Max-Age", "600"});
  return answer;
}

std::string key_name(const AccessRules& rules, const HttpRequest& request) {
  if (!rules.keys) return "";
  const std::string_view key = given_key(request);
  const auto name = key.empty() ? std::nullopt : rules.keys->name_of(key);
  if (!name) {
    throw ApiError("invalid_api_key",
                   concat("Authorization: expected Bearer and a key of this server, found ",
                          key.empty() ? "none" : "another"));
  }
  return *name;
}

}  // namespace hypenet
