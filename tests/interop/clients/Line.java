/** An event as a line of JSON: its type, its id, its data. */
class Line {
    static void show(String... event) {
        var line = new StringBuilder();
        for (var field : event) line.append(line.isEmpty() ? "" : ",").append(quoted(field));
        System.out.println("[" + line + "]");
    }

    /** ASCII alone, whatever encoding the console has. */
    private static String quoted(String text) {
        if (text == null) return "\"\"";
        var quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') quoted.append('\\').append(c);
            else if (c < ' ' || c > '~') quoted.append(String.format("\\u%04x", (int) c));
            else quoted.append(c);
        }
        return quoted.append('"').toString();
    }
}
