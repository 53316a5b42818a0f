// Targets of the room serve: the requests of one connection, whole and in two pieces, and bodies of
// requests.
#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "fuzz/target.h"
#include "serve/api/anthropic_form.h"
#include "serve/api/completion_form.h"
#include "serve/api/text_forms.h"
#include "serve/http/http_reader.h"

namespace hypenet::fuzz {
namespace {

/// The requests that a connection's bytes are read as.
std::string requests_in(std::string_view first, std::string_view second) {
  HttpLimits limits;
  limits.body_bytes = 64;
  limits.header_bytes = 1024;
  limits.target_bytes = 256;
  limits.header_fields = 16;
  HttpReader reader(limits);
  std::string seen;
  for (const std::string_view piece : {first, second}) {
    reader.push(piece);
    while (reader.read() == HttpReader::Phase::kWhole) {
      const HttpRequest request = reader.take();
      seen += concat(request.method, ' ', request.target, ' ', request.path, ' ', request.query);
      for (const HttpHeader& header : request.headers) {
        seen += concat('\n', header.name, ": ", header.value);
      }
      seen += concat('\n', request.body, '\n', reader.keeps_alive(), '\n');
      if (request.path.find('\0') == request.path.npos && std::ssize(request.body) <= 64) continue;
      std::fprintf(stderr, "a request beyond the limits:\n%s\n", seen.c_str());
      std::abort();
    }
  }
  return seen;
}

}  // namespace

/// Where to cut (two bytes), then a connection's bytes. A cut may change when a fault is seen, and
/// which, but not the requests before it.
void read_http(std::string_view input) {
  if (input.size() < 2) return;
  const size_t place =
      static_cast<unsigned char>(input[0]) * 256U + static_cast<unsigned char>(input[1]);
  input.remove_prefix(2);
  const size_t cut = std::min(place, input.size());
  const std::string whole = requests_in(input, {});
  const std::string pieces = requests_in(input.substr(0, cut), input.substr(cut));
  if (whole == pieces) return;
  std::fprintf(stderr, "expected the same requests for a cut at %zu, found:\n%s\nand\n%s\n", cut,
               whole.c_str(), pieces.c_str());
  std::abort();
}

/// Each is read as every form.
void read_request(std::string_view input) {
  const Json body = parse_body(input);
  const ServedModel model{.name = "m", .vocab_size = 1000, .context_length = 4096};
  attempt([&] {
    const ChatRequest request = parse_chat_request(body, model);
    const std::string text = body_text(chat_options(request).variables);
    generate_options(request.settings, model, std::ssize(text), {}, 1, 0);
  });
  attempt([&] { parse_completion_request(body, model); });
  attempt([&] { parse_anthropic_request(body, model); });
  attempt([&] { parse_tokenize_request(body, model); });
  attempt([&] { parse_detokenize_request(body, model); });
}

}  // namespace hypenet::fuzz
