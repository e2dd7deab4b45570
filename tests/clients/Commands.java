import java.io.*;
import java.lang.reflect.InvocationTargetException;
import java.util.*;
import java.util.stream.Collectors;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Apache Kafka's tools in one process. A line of standard input is the class of a tool and its options. Prints the line
 * and what the tool has printed, its lines sorted: tools print in the order of hash tables. Argument: the addresses, put in for
 * BOOTSTRAP.
 */
public class Commands {
    public static void main(String[] words) throws Exception {
        Exit.setExitProcedure((status, message) -> { throw new RuntimeException(message == null ? "exit " + status : message); });
        PrintStream out = System.out;
        var input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            if (line.isBlank()) continue;
            String[] parts = line.replace("BOOTSTRAP", words[0]).trim().split(" +");
            var bytes = new ByteArrayOutputStream();
            var capture = new PrintStream(bytes, true);
            System.setOut(capture);
            System.setErr(capture);
            try {
                Class.forName(parts[0]).getMethod("main", String[].class)
                    .invoke(null, (Object) Arrays.copyOfRange(parts, 1, parts.length));
            } catch (InvocationTargetException problem) {
                capture.println("ends: " + problem.getCause().getMessage());
            }
            System.setOut(out);
            out.println("> " + line.substring(line.indexOf(' ') + 1));
            out.println(Arrays.stream(bytes.toString().split("\n")).map(one -> one.replaceAll("  +", " ").strip())
                .filter(one -> !one.isEmpty() && !one.startsWith("at ")).sorted().collect(Collectors.joining("\n")));
        }
    }
}
