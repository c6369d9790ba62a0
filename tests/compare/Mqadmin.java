import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * Apache's mqadmin, one command after the other in one process. Each line of the input is a command, its words apart by tabs; each answer
 * is what the command printed and a line `@@@ end`.
 */
public final class Mqadmin {
    private Mqadmin() {}

    public static void main(String[] none) throws Exception {
        PrintStream real = System.out;
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            ByteArrayOutputStream printed = new ByteArrayOutputStream();
            PrintStream capture = new PrintStream(printed, true, StandardCharsets.UTF_8);
            System.setOut(capture);
            System.setErr(capture);
            try {
                MQAdminStartup.main0(line.split("\t"), null);
            } catch (Throwable e) {
                capture.println("thrown: " + e);
            }
            capture.flush();
            real.write(printed.toByteArray());
            real.println("\n@@@ end");
            real.flush();
        }
        Runtime.getRuntime().halt(0);
    }
}
