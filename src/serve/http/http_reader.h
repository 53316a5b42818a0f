// Bytes of a connection in, requests out; a request is read only after the one before it was taken.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "serve/http/http.h"
#include "serve/http/http_head.h"

namespace hypenet {

class HttpReader {
 public:
  enum class Phase {
    kIdle,   // no byte of a request
    kHead,   // a part of its head
    kBody,   // its head and a part of its body
    kWhole,  // all of it: take() it
    kFault,  // refused: fault() says why; nothing more can be read
  };

  explicit HttpReader(const HttpLimits& limits);
  ~HttpReader();
  HttpReader(const HttpReader&) = delete;
  HttpReader& operator=(const HttpReader&) = delete;

  /// Bytes for this request and later ones, in any pieces.
  void push(std::string_view bytes);

  /// Reads as far as the bytes go.
  Phase read();

  /// Whether the client waits for "100 Continue" before it sends the body; told once a request.
  bool take_expectation();

  /// The whole request, without its client.
  HttpRequest take();

  const HttpFault& fault() const { return fault_; }
  bool is_http11() const { return is_http11_; }                   // of the request read last
  bool keeps_alive() const { return keeps_alive_; }               // of the request read last
  int64_t body_bytes() const;                                     // of the body, in phase kBody
  int64_t waiting_bytes() const { return std::ssize(waiting_); }  // pushed, not read

 private:
  struct Parser;
  void parse();
  size_t least_bytes() const;
  void accept_head();
  Phase refuse(HttpFault fault);

  HttpLimits limits_;
  std::unique_ptr<Parser> parser_;  // of the request being read; none: idle
  std::string waiting_;
  HttpRequest request_;
  HttpFault fault_;
  Phase phase_ = Phase::kIdle;
  bool is_http11_ = true, keeps_alive_ = true, expects_continue_ = false;
};

}  // namespace hypenet
