import java.lang.reflect.Method;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import org.elasticsearch.Build;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.http.AbstractHttpServerTransport;
import org.elasticsearch.http.HttpServerTransport;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginBundle;
import org.elasticsearch.plugins.PluginsLoader;
import org.elasticsearch.rest.RestController;
import org.elasticsearch.rest.RestHandler.Route;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestResponse;
import org.elasticsearch.rest.RestStatus;

/** Elasticsearch in this JVM, with the settings of CONFIG/elasticsearch.yml; ends when standard input does. */
class Launcher {
    public static void main(String[] arguments) throws InterruptedException {
        Lifeline.hold(() -> start(Path.of(arguments[0])));
    }

    private static int start(Path config) throws Exception {
        LogConfigurator.registerErrorListener();
        LogConfigurator.configureESLogging();
        var environment = InternalSettingsPreparer.prepareEnvironment(
            Settings.EMPTY, Map.of(), config, () -> "pqaudit");
        var loader = PluginsLoader.createPluginsLoader(bundles(environment.modulesDir()), Set.of(), Map.of(), false);
        var node = new Node(environment, loader);
        var http = node.injector().getInstance(HttpServerTransport.class);
        answerRoot(http);
        Lifeline.closeAtEnd(node);
        node.start();
        return http.boundAddress().publishAddress().getPort();
    }

    /** Called by name: 9.x wants one argument more than 8.x, and this source serves both. */
    @SuppressWarnings("unchecked")
    private static Set<PluginBundle> bundles(Path modules) throws ReflectiveOperationException {
        for (Method each : PluginsLoader.class.getMethods()) {
            if (each.getName().equals("loadModulesBundles")) {
                boolean old = each.getParameterCount() == 1;
                return (Set<PluginBundle>) (old ? each.invoke(null, modules) : each.invoke(null, modules, false));
            }
        }
        throw new NoSuchMethodException("PluginsLoader.loadModulesBundles");
    }

    /** The module that answers GET / is not published. This is the one answer that is not Elasticsearch's own. */
    private static void answerRoot(HttpServerTransport http) throws ReflectiveOperationException {
        var field = AbstractHttpServerTransport.class.getDeclaredField("dispatcher");
        field.setAccessible(true);
        var controller = (RestController) field.get(http);
        var body = """
            {"name": "pqaudit", "cluster_name": "pqaudit", "version": {"number": "%s"}, \
            "tagline": "You Know, for Search"}""".formatted(Build.current().version());
        for (var method : new RestRequest.Method[] {RestRequest.Method.GET, RestRequest.Method.HEAD}) {
            controller.registerHandler(new Route(method, "/"), (request, channel, client) ->
                channel.sendResponse(new RestResponse(RestStatus.OK, "application/json", body)));
        }
    }
}
