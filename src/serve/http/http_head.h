// What HTTP demands of a request's head beyond its grammar, and what this server refuses in one.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "serve/http/http.h"

namespace hypenet {

/// Why a request is refused: its answer's status, the API's code for it, one line.
struct HttpFault {
  int status = 400;
  std::string code, message;
};

/// The fault of a request line or of fields in which two readers could see different requests.
HttpFault malformed(std::string message);

/// Sets path and query from the target. A target that is no path (or "*", or an address whose host
/// is `host`), a broken escape, a NUL and a ".." segment are faults.
std::optional<HttpFault> read_target(HttpRequest& request, std::string_view host);

/// Checks the fields of a request whose target and headers are set, and reads its target. The rules
/// are RFC 9112's (sections 3.2, 6.1 and 6.3) where it leaves a server no choice or names the
/// careful one.
std::optional<HttpFault> check_head(HttpRequest& request, bool is_http11, const HttpLimits& limits);

}  // namespace hypenet
