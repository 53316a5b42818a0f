// A refusal as HTTP has it, whatever form its body has.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "serve/api/api_error.h"
#include "serve/http/http.h"

namespace hypenet {

/// With Retry-After where the error says when, and WWW-Authenticate where a key is missing.
inline HttpResponse error_response(const ApiError& error, std::string body,
                                   std::vector<HttpHeader> headers = {}) {
  if (error.status() == 401) headers.push_back({"WWW-Authenticate", "Bearer"});
  if (error.retry_after) {
    headers.push_back({"Retry-After", std::to_string(*error.retry_after)});
  }
  return {.status = error.status(), .headers = std::move(headers), .body = std::move(body)};
}

}  // namespace hypenet
