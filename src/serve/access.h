// Who may ask: keys, and which names and pages browsers may use.
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "serve/api/api_error.h"
#include "serve/http/http.h"

namespace hypenet {

/// The keys of a file, one a line: "key" or "name:key"; empty lines and lines that begin with # are
/// left out.
class ApiKeys {
 public:
  /// Throws Error naming the file and the line for an empty key, and for a file without keys.
  static ApiKeys read(const std::filesystem::path& file);

  /// The name of the key ("key N" of line N where it has none); none where it is unknown. Takes as
  /// long for any key of the same length.
  std::optional<std::string> name_of(std::string_view key) const;

 private:
  struct Key {
    std::string name, key;
  };
  std::vector<Key> keys_;
};

struct AccessRules {
  std::string host;  // that the server listens on
  std::set<std::string> allowed_hosts = {}, cors_origins = {};
  std::optional<ApiKeys> keys = {};
};

/// Throws ApiError for a Host that a browser was led astray with (on loopback alone), and for an
/// Origin that is neither this server's nor allowed.
void check_browser(const AccessRules& rules, const HttpRequest& request);

/// The headers by which a browser lets an allowed page read the answer; none for others.
std::vector<HttpHeader> cors_headers(const AccessRules& rules, const HttpRequest& request);

/// The answer to a browser's question before the request itself.
HttpResponse preflight_answer(const AccessRules& rules, const HttpRequest& request);

/// The name of the request's key, from Authorization: Bearer or x-api-key; empty where no keys are
/// asked for. Throws ApiError for none and for an unknown one.
std::string key_name(const AccessRules& rules, const HttpRequest& request);

/// Whether an address is this machine's own: localhost, 127.x.y.z or ::1.
bool is_loopback(std::string_view host);

}  // namespace hypenet
