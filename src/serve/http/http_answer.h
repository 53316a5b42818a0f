// An answer as the bytes that go out.
#pragma once

#include <string>
#include <string_view>

#include "serve/http/http.h"

namespace hypenet {

/// How an answer's body ends on the wire.
enum class HttpFraming {
  kLength,  // Content-Length
  kChunks,  // Transfer-Encoding: chunked
  kClose,   // with the connection (HTTP/1.0)
};

/// Status line and fields, with the empty line. Control characters in fields become spaces.
std::string answer_head(const HttpResponse& response, HttpFraming framing, bool keeps_alive);

/// Appends bytes as one chunk; none append nothing, as an empty chunk would end the body.
void append_chunk(std::string& out, std::string_view bytes);

constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace hypenet
