// Types follow from statuses, as in the APIs that clients were written for.
#include "serve/api/api_error.h"

namespace hypenet {
namespace {

std::string_view anthropic_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    default:
      return status < 500 ? "invalid_request_error" : "api_error";
  }
}

}  // namespace

std::string_view ApiError::type() const {
  if (status() >= 500) return "server_error";
  if (status() == 429) return "rate_limit_error";
  return status() == 401 ? "authentication_error" : "invalid_request_error";
}

Json openai_error(const ApiError& error) {
  return {{"error",
           {{"message", error.what()},
            {"type", error.type()},
            {"param", error.param().empty() ? Json(nullptr) : Json(error.param())},
            {"code", error.code()}}}};
}

Json anthropic_error(const ApiError& error) {
  return {{"type", "error"},
          {"error", {{"type", anthropic_type(error.status())}, {"message", error.what()}}}};
}

}  // namespace hypenet
