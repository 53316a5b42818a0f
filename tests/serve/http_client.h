// One request a connection, whole answers: for tests of the service.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tests/serve/http/served.h"

namespace hypenet {

struct HttpAnswer {
  int status = 0;
  std::string head, body;

  Json json() const { return Json::parse(body, nullptr, false); }
  /// The value of a header; empty: none.
  std::string header(std::string_view name) const {
    const size_t at = head.find("\r\n" + std::string(name) + ": ");
    if (at == std::string::npos) return "";
    const size_t begin = at + 2 + name.size() + 2;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
  /// The JSON of each event of a stream but [DONE].
  std::vector<Json> events() const {
    std::vector<Json> events;
    for (size_t at = 0; (at = body.find("data: ", at)) != std::string::npos;) {
      const size_t end = body.find("\n\n", at);
      const std::string text = body.substr(at + 6, end - at - 6);
      if (text != "[DONE]") events.push_back(Json::parse(text, nullptr, false));
      at = end;
    }
    return events;
  }
};

/// The bytes of a request that asks for the connection's end (HTTP/1.0: no chunks).
inline std::string request_bytes(std::string_view method, std::string_view path,
                                 std::string_view body = "", std::string_view headers = "") {
  std::string bytes(method);
  bytes.append(" ").append(path).append(" HTTP/1.0\r\nHost: localhost\r\n").append(headers);
  bytes.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n\r\n");
  return bytes.append(body);
}

inline HttpAnswer parse_answer(const std::string& bytes) {
  HttpAnswer answer;
  const size_t end = bytes.find("\r\n\r\n");
  if (end == std::string::npos || bytes.size() < 12) return answer;
  answer.head = bytes.substr(0, end + 2);
  answer.body = bytes.substr(end + 4);
  answer.status = std::stoi(bytes.substr(9, 3));
  return answer;
}

inline HttpAnswer ask(int port, std::string_view method, std::string_view path,
                      std::string_view body = "", std::string_view headers = "") {
  RawClient client(port);
  client.send(request_bytes(method, path, body, headers));
  return parse_answer(client.receive_all());
}

inline HttpAnswer post(int port, std::string_view path, const Json& body,
                       std::string_view headers = "") {
  return ask(port, "POST", path, body.dump(), headers);
}

}  // namespace hypenet
