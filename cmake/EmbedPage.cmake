# Builds src/serve/page/index.html into the program (src/serve/page/page.h): a source file with the page as one string and the
# policy that lets a browser run its one script and its one style and nothing else.
set(page_file ${CMAKE_SOURCE_DIR}/src/serve/page/index.html)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${page_file})

# The text between <tag> and </tag>, of which there must be one: 'sha256-' and its digest in base64 (CMake writes hex).
function(hypenet_page_hash text tag result)
  string(FIND "${text}" "<${tag}>" begin)
  string(FIND "${text}" "</${tag}>" end)
  string(FIND "${text}" "<${tag}>" last REVERSE)
  if(begin LESS 0 OR NOT begin EQUAL last OR end LESS begin)
    message(FATAL_ERROR "src/serve/page/index.html: expected one <${tag}> without attributes")
  endif()
  string(LENGTH "<${tag}>" opening)
  math(EXPR begin "${begin} + ${opening}")
  math(EXPR length "${end} - ${begin}")
  string(SUBSTRING "${text}" ${begin} ${length} inside)
  string(SHA256 digest "${inside}")
  set(alphabet "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  set(base64 "")
  foreach(place RANGE 0 60 6)  # 32 bytes: ten threes and one two, whose last letter is the padding
    string(SUBSTRING "${digest}00" ${place} 6 digits)
    foreach(shift 18 12 6 0)
      math(EXPR index "(0x${digits} >> ${shift}) & 63")
      string(SUBSTRING ${alphabet} ${index} 1 letter)
      string(APPEND base64 ${letter})
    endforeach()
  endforeach()
  string(SUBSTRING ${base64} 0 43 base64)
  set(${result} "'sha256-${base64}='" PARENT_SCOPE)
endfunction()

file(READ ${page_file} HYPENET_PAGE)
hypenet_page_hash("${HYPENET_PAGE}" script script_hash)
hypenet_page_hash("${HYPENET_PAGE}" style style_hash)
string(CONCAT HYPENET_PAGE_POLICY "default-src 'none'; script-src ${script_hash}; style-src ${style_hash}; "
  "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
  "require-trusted-types-for 'script'; trusted-types 'none'")
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/page.cpp @ONLY CONTENT "// Written by cmake/EmbedPage.cmake from src/serve/page/index.html.
#include \"serve/page/page.h\"

namespace hypenet {
std::string_view page() {
  return R\"page(@HYPENET_PAGE@)page\";
}
std::string_view page_policy() {
  return R\"page(@HYPENET_PAGE_POLICY@)page\";
}
}  // namespace hypenet
")
