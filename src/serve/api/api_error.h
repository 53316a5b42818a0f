// What an endpoint answers instead of what was asked: the table of codes and their statuses, and
// the two shapes in which clients read errors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"

namespace hypenet {

struct ErrorRow {
  std::string_view code;
  int status;
};

/// Every code that the server answers with. The status decides the type.
inline constexpr ErrorRow kErrorTable[] = {{"invalid_json", 400},
                                           {"invalid_type", 400},
                                           {"invalid_value", 400},
                                           {"missing_required_parameter", 400},
                                           {"unsupported_parameter", 400},
                                           {"context_length_exceeded", 400},
                                           {"invalid_schema", 400},
                                           {"template_error", 400},
                                           {"tools_unsupported", 400},
                                           {"session_corrupt", 400},
                                           {"bad_request", 400},
                                           {"invalid_api_key", 401},
                                           {"host_not_allowed", 403},
                                           {"origin_not_allowed", 403},
                                           {"cache_clear_not_allowed", 403},
                                           {"model_not_found", 404},
                                           {"unknown_url", 404},
                                           {"session_not_found", 404},
                                           {"sessions_disabled", 404},
                                           {"method_not_allowed", 405},
                                           {"request_timeout", 408},
                                           {"session_busy", 409},
                                           {"session_mismatch", 409},
                                           {"nothing_cached", 409},
                                           {"length_required", 411},
                                           {"body_too_large", 413},
                                           {"uri_too_long", 414},
                                           {"encoding_not_supported", 415},
                                           {"expectation_failed", 417},
                                           {"queue_full", 429},
                                           {"headers_too_large", 431},
                                           {"model_error", 500},
                                           {"internal", 500},
                                           {"loading", 503},
                                           {"stopping", 503},
                                           {"timeout_in_queue", 503},
                                           {"no_space", 507}};

/// A row of the table, by its code. A literal that is not in the table does not compile.
class ErrorCode {
 public:
  consteval ErrorCode(const char* code) : row_(find(code)) {
    if (row_.code != code) throw "no code of kErrorTable";
  }

  /// The row of a code that is known only at run time; "internal" where there is none.
  static constexpr ErrorCode of(std::string_view code) { return ErrorCode(find(code)); }

  constexpr std::string_view name() const { return row_.code; }
  constexpr int status() const { return row_.status; }

 private:
  constexpr explicit ErrorCode(ErrorRow row) : row_(row) {}

  static constexpr ErrorRow find(std::string_view code) {
    for (const ErrorRow& row : kErrorTable) {
      if (row.code == code) return row;
    }
    return {"internal", 500};
  }

  ErrorRow row_;
};

/// A request that is refused or failed. what() is the message that the client reads.
class ApiError : public Error {
 public:
  /// `param` is the path of the field at fault, like "messages[2].content"; empty: none is.
  ApiError(ErrorCode code, const std::string& message, std::string param = {})
      : Error(message), code_(code), param_(std::move(param)) {}

  int status() const { return code_.status(); }
  std::string_view code() const { return code_.name(); }
  /// "invalid_request_error", "authentication_error", "rate_limit_error" or "server_error".
  std::string_view type() const;
  const std::string& param() const { return param_; }

  /// Seconds for the header Retry-After, where the sender set them (429 and 503).
  std::optional<int64_t> retry_after = {};

 private:
  ErrorCode code_;
  std::string param_;
};

/// {"error":{"message","type","param","code"}}; param is null where none is at fault.
Json openai_error(const ApiError& error);

/// {"type":"error","error":{"type","message"}} with Anthropic's names of types.
Json anthropic_error(const ApiError& error);

}  // namespace hypenet
