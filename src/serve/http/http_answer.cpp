// Status lines, fields and chunks as text.
#include "serve/http/http_answer.h"

#include <array>
#include <charconv>
#include <ctime>

namespace hypenet {
namespace {

std::string_view reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    case 507:
      return "Insufficient Storage";
    default:
      return "Status";
  }
}

/// Fixed names, whatever the locale.
std::string date() {
  constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::array<char, 40> text{};
  const int length = std::snprintf(text.data(), text.size(), "%s, %02d %s %d %02d:%02d:%02d GMT",
                                   kDays.at(utc.tm_wday), utc.tm_mday, kMonths.at(utc.tm_mon),
                                   utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
  return {text.data(), static_cast<size_t>(length)};
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  const auto append = [&out](std::string_view text) {
    for (const char c : text) out += static_cast<unsigned char>(c) < ' ' || c == 127 ? ' ' : c;
  };
  append(name);
  out += ": ";
  append(value);
  out += "\r\n";
}

}  // namespace

std::string answer_head(const HttpResponse& response, HttpFraming framing, bool keeps_alive) {
  std::string head = "HTTP/1.1 ";
  head += std::to_string(response.status);
  head += ' ';
  head += reason(response.status);
  head += "\r\n";
  append_field(head, "Date", date());
  if (!response.content_type.empty()) append_field(head, "Content-Type", response.content_type);
  for (const HttpHeader& header : response.headers) append_field(head, header.name, header.value);
  const bool has_body = response.status != 204 && response.status != 304;
  if (has_body && framing == HttpFraming::kLength) {
    append_field(head, "Content-Length", std::to_string(response.body.size()));
  }
  if (has_body && framing == HttpFraming::kChunks) {
    append_field(head, "Transfer-Encoding", "chunked");
  }
  if (!keeps_alive) append_field(head, "Connection", "close");
  head += "\r\n";
  return head;
}

void append_chunk(std::string& out, std::string_view bytes) {
  if (bytes.empty()) return;
  std::array<char, 16> size{};
  const auto end = std::to_chars(size.data(), size.data() + size.size(), bytes.size(), 16).ptr;
  out.append(size.data(), end);
  out += "\r\n";
  out += bytes;
  out += "\r\n";
}

}  // namespace hypenet
