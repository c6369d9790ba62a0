import java.io.PrintStream;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import org.apache.rocketmq.broker.filter.MessageEvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.parser.SelectorParser;

/**
 * What Apache RocketMQ 5.5.0 makes of SQL92 conditions, made at random from its own grammar (and a little beside it):
 *
 *   java -cp 'LIB/*' Sql.java crates/broker/testdata/sql92.tsv
 *
 * A line: condition, properties `name=value;…`, and `true`, `false` or `refused`. Nothing depends on time or machine.
 */
public class Sql {
    static final Random random = new Random(42);
    static final String[] NAMES = {"a", "b", "c"};
    static final String[] TEXTS = {"x", "xyz", "1", "10", "-5", "2.5", "true", "it''s", "", "é"};
    static final String[] NUMBERS = {"0", "1", "5", "10", "2147483648", "7L", "2.5", ".5", "1E2", "0.0", "99999999999999999999"};
    static final String[] VALUES = {"x", "xyz", "1", "10", "-5", "2.5", "true", "it's", "é", "+7", " 3 ", "2147483648", "1e2", "NaN", "5d", "0x10"};

    public static void main(String[] args) throws Exception {
        try (PrintStream out = new PrintStream(args[0], "UTF-8")) {
            for (int i = 0; i < 1500; i++) {
                String text = condition(random.nextInt(4));
                for (int j = 0; j < 3; j++) {
                    Map<String, String> properties = new HashMap<>();
                    StringBuilder shown = new StringBuilder();
                    for (String name : NAMES) {
                        if (random.nextInt(4) > 0) {
                            String value = VALUES[random.nextInt(VALUES.length)];
                            properties.put(name, value);
                            shown.append(name).append('=').append(value).append(';');
                        }
                    }
                    String result = evaluate(text, properties);
                    out.print(text + "\t" + shown + "\t" + result + "\n");
                    if (result.equals("refused")) {
                        break;
                    }
                }
            }
        }
    }

    static String evaluate(String text, Map<String, String> properties) {
        Expression expression;
        try {
            expression = SelectorParser.parse(text);
        } catch (Exception e) {
            return "refused";
        }
        try {
            Object value = expression.evaluate(new MessageEvaluationContext(properties));
            return Boolean.TRUE.equals(value) ? "true" : "false";
        } catch (Throwable e) {
            return "false";
        }
    }

    static String pick(String... of) {
        return of[random.nextInt(of.length)];
    }

    static String condition(int depth) {
        if (depth == 0) {
            return comparison();
        }
        return switch (random.nextInt(6)) {
            case 0 -> condition(depth - 1) + pick(" AND ", " and ") + condition(depth - 1);
            case 1 -> condition(depth - 1) + pick(" OR ", " or ") + condition(depth - 1);
            case 2 -> "NOT " + condition(depth - 1);
            case 3 -> "(" + condition(depth - 1) + ")" + pick("", "", "", " = TRUE", " IS NULL", " > 1");
            case 4 -> "not(" + condition(depth - 1) + ")";
            default -> comparison();
        };
    }

    static String comparison() {
        String not = pick("", "", "NOT ");
        return switch (random.nextInt(9)) {
            case 0, 1, 2 -> value() + pick(" = ", "<>", " > ", " >= ", "<", " <= ") + value();
            case 3 -> value() + " " + not + "BETWEEN " + value() + " AND " + value();
            case 4 -> value() + " " + not + "IN ('" + pick(TEXTS) + "', '" + pick(TEXTS) + "')";
            case 5 -> value() + " IS " + not + "NULL";
            case 6 -> value() + " " + not + pick("CONTAINS", "STARTSWITH", "ENDSWITH") + " '" + pick(TEXTS) + "'";
            case 7 -> pick("TRUE", "FALSE", "NULL", "a", "5", "'x'", "-a");
            default -> pick(NAMES) + pick(" = ", " > ", " < ") + pick(NUMBERS);
        };
    }

    static String value() {
        return switch (random.nextInt(8)) {
            case 0, 1, 2, 3 -> pick(NAMES);
            case 4 -> "'" + pick(TEXTS) + "'";
            case 5 -> pick(NUMBERS);
            case 6 -> "-" + pick(NUMBERS);
            default -> pick("TRUE", "FALSE", "NULL", "-a", "(b)", "+ 1");
        };
    }
}
